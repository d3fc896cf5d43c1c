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
from itertools import chain
from typing import Any, NamedTuple

import msgspec
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
# Key: what the keys of an owner's versions begin with. Arguments: seconds that they live; as one text, since a round of
# bookings has thousands of them, the name of each and its new text; and, if those that have that text already are to be
# left, the new text of the others.
_BUMP = """
local bumps = cmsgpack.unpack(ARGV[2])
for i = 1, #bumps, 2 do
  local key = KEYS[1] .. bumps[i]
  local version = redis.call('GET', key)
  if version and not (ARGV[3] and version == bumps[i + 1]) then
    redis.call('SET', key, ARGV[3] or bumps[i + 1], 'EX', ARGV[1])
  end
end
"""


# By owner, and by the name of a version: the text that names the write.
Stamps = Mapping[int, Mapping[str, str]]


class Version(NamedTuple):
    """What values depend on: something of an owner's, such as one of its users."""

    owner: int
    name: str

    @property
    def key(self) -> str:
        return _prefix(self.owner) + self.name


class Hit(NamedTuple):
    """A value that stands under the present version, and for how long at most it has been true, in seconds."""

    value: bytes
    age_s: float


class Fill(NamedTuple):
    """The leave to make the value and keep it: under this version, as read at this time of the server's."""

    version: bytes
    at_ms: int
    token: bytes


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

    def bump(self, stamps: Stamps, *, is_again: bool = False) -> None:
        """Put stamps in the place of versions, in one round trip.

        Again, what has its stamp stays, and the others get a new text: a stamp must not come twice.
        """
        calls = list(self._bump_calls(stamps, (fresh(),) if is_again else ()))
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

    def _bump_calls(self, stamps: Stamps, others: tuple[str, ...]) -> Iterator[tuple[list[str], list[Any]]]:
        for owner, found in stamps.items():
            texts = list(chain.from_iterable(found.items()))
            for start in range(0, len(texts), 2 * BUMPED_AT_ONCE):
                part = msgspec.msgpack.encode(texts[start : start + 2 * BUMPED_AT_ONCE])
                yield [_prefix(owner)], [2 * self._ttl_s, part, *others]

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


def _prefix(owner: int) -> str:
    return f"cache:{{{owner}}}:version:"


def _keys(version: Version, name: str) -> list[str]:
    value = f"cache:{{{version.owner}}}:value:{name}"
    return [version.key, value, f"{value}:lock"]
