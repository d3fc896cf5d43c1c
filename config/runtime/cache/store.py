"""Versions and the values that stand under them, in one Redis: three scripts, each one round trip.

A version is a text that never comes twice, not a number: one that was evicted is made anew at random, and nothing that
stood under an earlier one is ever found again. Only who reads makes versions; a writer replaces those that are there.
So what nobody reads takes no room.

All keys of an owner have one hash tag: in a cluster they are in one slot, and a script may touch them together.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import NoScriptError, RedisError

# A filler that dies keeps others from filling for so long.
LOCK_MS = 2_000
# Redis serves nobody else meanwhile: a third of a millisecond.
BUMPED_AT_ONCE = 250
FOLLOWED = "cache:followed"
FOLLOWED_MS = 3_000

# Keys: version, value, lock. Arguments: milliseconds that the value may be old, seconds that a version lives, a new
# text for the version and the lock, milliseconds of the lock. The age is counted from before the value was read, by
# the server's clock; one that was set back says nothing about the age.
_LOOK = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local version = redis.call('GET', KEYS[1])
if version then
  local kept = redis.call('HMGET', KEYS[2], 'version', 'at')
  if kept[1] == version then
    local age = now - kept[2]
    if age >= 0 and age < tonumber(ARGV[1]) then
      return {redis.call('HGET', KEYS[2], 'value'), age}
    end
  end
  redis.call('EXPIRE', KEYS[1], ARGV[2])
else
  version = ARGV[3]
  redis.call('SET', KEYS[1], version, 'EX', ARGV[2])
end
if redis.call('SET', KEYS[3], ARGV[3], 'NX', 'PX', ARGV[4]) then
  return {version, now, ARGV[3]}
end
return {}
"""
# Keys: the same. Arguments: the lock's text, the version, when it was read, seconds that the value lives, and the
# value, if it is to be kept.
_KEEP = """
if redis.call('GET', KEYS[3]) == ARGV[1] then
  redis.call('DEL', KEYS[3])
end
if ARGV[5] and redis.call('GET', KEYS[1]) == ARGV[2] then
  redis.call('HSET', KEYS[2], 'version', ARGV[2], 'at', ARGV[3], 'value', ARGV[5])
  redis.call('EXPIRE', KEYS[2], ARGV[4])
end
"""
# Keys: versions. Arguments: seconds that they live, and of each the text that needs no bump, and its new one.
_BUMP = """
for i, key in ipairs(KEYS) do
  local version = redis.call('GET', key)
  if version and version ~= ARGV[2 * i] then
    redis.call('SET', key, ARGV[2 * i + 1], 'EX', ARGV[1])
  end
end
"""


class Version(NamedTuple):
    """What values depend on: something of an owner's, such as one of its users."""

    owner: int
    name: str

    @property
    def key(self) -> str:
        return f"cache:{{{self.owner}}}:version:{self.name}"


class Hit(NamedTuple):
    """A value that stands under the present version, and for how long at most it has been true, in seconds."""

    value: bytes
    age_s: float


class Fill(NamedTuple):
    """The leave to make the value and keep it: under this version, as read at this time of the server's."""

    version: bytes
    at_ms: int
    token: bytes


class Bump(NamedTuple):
    """What becomes of a version, if it is there and is not `unless`."""

    to: str
    unless: str = ""


class _Script:
    def __init__(self, text: str) -> None:
        self._text = text
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def by_hash(self, keys: Sequence[str], args: Sequence[Any]) -> tuple[Any, ...]:
        return "EVALSHA", self._sha, len(keys), *keys, *args

    def in_full(self, keys: Sequence[str], args: Sequence[Any]) -> tuple[Any, ...]:
        return "EVAL", self._text, len(keys), *keys, *args


_look, _keep, _bump = _Script(_LOOK), _Script(_KEEP), _Script(_BUMP)


class Store:
    """The versions and values in one Redis, asked as its client asks: a guarded one raises `RedisAway` in an outage.

    A value lives for `ttl_s`, and a version for longer than any value under it.
    """

    def __init__(self, client: Redis, *, ttl_s: int) -> None:
        self._client, self._ttl_s = client, ttl_s

    def look(self, version: Version, name: str, *, age_s_max: float) -> Hit | Fill | None:
        """Return what is kept under the version as it is now, or the leave to fill; None while somebody else fills."""
        args = (round(age_s_max * 1000), 2 * self._ttl_s, fresh(), LOCK_MS)
        found = self._run(_look, _keys(version, name), args)
        if not found:
            return None
        return Hit(found[0], found[1] / 1000) if len(found) == 2 else Fill(*found)  # noqa: PLR2004  (as the script says)

    def keep(self, version: Version, name: str, fill: Fill, value: bytes | None) -> None:
        """Keep a value, unless its version has been replaced since; let others fill, also where there is none."""
        kept = () if value is None else (value,)
        self._run(_keep, _keys(version, name), (fill.token, fill.version, fill.at_ms, self._ttl_s, *kept))

    def bump(self, bumps: Mapping[Version, Bump]) -> None:
        """Replace versions, in one round trip."""
        calls = list(self._bump_calls(bumps))
        results = self._send(_bump.by_hash(*call) for call in calls)
        # Those alone that were not known: what was done must not be done again, lest a version came back.
        unknown = [call for call, result in zip(calls, results, strict=True) if isinstance(result, NoScriptError)]
        results = [result for result in results if not isinstance(result, NoScriptError)]
        if unknown:
            results += self._send(_bump.in_full(*call) for call in unknown)
        for result in results:
            if isinstance(result, RedisError):
                raise result

    def show_followed(self) -> None:
        """Say that bumps that were lost are made up for, for the next seconds."""
        self._client.set(FOLLOWED, 1, px=FOLLOWED_MS)

    def is_followed(self) -> bool:
        """Tell whether somebody has said so."""
        return bool(self._client.exists(FOLLOWED))

    def _bump_calls(self, bumps: Mapping[Version, Bump]) -> Iterator[tuple[list[str], list[Any]]]:
        by_owner: dict[int, list[tuple[str, Bump]]] = {}
        for version, bump in bumps.items():
            by_owner.setdefault(version.owner, []).append((version.key, bump))
        for found in map(iter, by_owner.values()):
            while part := list(islice(found, BUMPED_AT_ONCE)):
                told = [text for _, bump in part for text in (bump.unless, bump.to)]
                yield [key for key, _ in part], [2 * self._ttl_s, *told]

    def _send(self, commands: Iterator[tuple[Any, ...]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's
        return pipeline.execute(raise_on_error=False)

    def _run(self, script: _Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script: by its hash where Redis knows it, which nearly always it does."""
        try:
            return self._client.execute_command(*script.by_hash(keys, args))  # type: ignore[no-untyped-call]
        except NoScriptError:
            return self._client.execute_command(*script.in_full(keys, args))  # type: ignore[no-untyped-call]


def fresh() -> str:
    """Return a text that has not been a version yet."""
    return os.urandom(12).hex()


def _keys(version: Version, name: str) -> list[str]:
    value = f"cache:{{{version.owner}}}:value:{name}"
    return [version.key, value, f"{value}:lock"]
