"""What every process may know of statuses, in Redis: for a day, and never a lower version after a higher one.

A value carries the moment since which it was true on one clock, the server's, so that no two machines' clocks are
compared. A writer asks for the time first: a server that was frozen carries out late what it was sent, and would stamp
what has become false meanwhile with the time at which it wakes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec
from redis.commands.core import Script
from redis.exceptions import RedisError

from config.runtime.logging import get_logger
from config.runtime.redis import GuardedRedis, RedisAway
from ledger.domain.receipts import receipt_code
from ledger.domain.shapes import FailureShape
from ledger.status.shape import Key, Seen, StatusShape

LIFETIME_S = 24 * 3600
# Keeps what is there if it is of a higher version, or of the same and as recent; what is no value of ours gives way.
KEEP_NEWEST = """
for i, key in ipairs(KEYS) do
  local stored = redis.pcall('GET', key)
  local version, since = string.match(ARGV[i + 1], '^%[(%d+),(%d+),')
  local their_version, their_since
  if type(stored) == 'string' then
    their_version, their_since = string.match(stored, '^%[(%d+),(%d+),')
  end
  local newer = tonumber(version) - (tonumber(their_version) or -1)
  if newer == 0 then
    newer = tonumber(since) - tonumber(their_since)
  end
  if newer > 0 then
    redis.call('SET', key, ARGV[i + 1], 'EX', ARGV[1])
  end
end
"""

log = get_logger()


class _Value(msgspec.Struct, frozen=True, array_like=True):
    """A status as it is stored: a JSON array that begins as the script expects, without what the key says."""

    version: int
    since_us: int
    status: str
    error: FailureShape | None
    created_at: str
    completed_at: str | None


_decoder = msgspec.json.Decoder(_Value)


class Store:
    """The statuses in one Redis. It is only a cache: while it is away, nothing is found and nothing is kept."""

    def __init__(self, client: GuardedRedis) -> None:
        self._client = client
        self._keep_newest: Script = client.register_script(KEEP_NEWEST)

    def read(self, key: Key) -> Seen | None:
        """Return the status that is kept of a transaction, if one is."""
        asked_at = time.monotonic()
        try:
            asked = self._client.pipeline(transaction=False)
            asked.time()
            asked.get(_name(key))
            time_of_day, raw = asked.execute()
            value = _decoder.decode(raw) if raw is not None else None
        except (RedisAway, RedisError, msgspec.DecodeError):
            return None
        if value is None:
            return None
        age_s = (_micros(time_of_day) - value.since_us) / 1e6
        # A clock that was set back says nothing about the age.
        return Seen(_shape(key, value), asked_at - age_s if age_s >= 0 else float("-inf"))

    def write(self, batch: Iterable[tuple[Key, Seen]]) -> None:
        """Keep statuses, in two round trips; what cannot be kept is left out."""
        try:
            time_of_day = _micros(self._client.time())
            told_at = time.monotonic()
            # No age is smaller than the true one: the answer needed time as well.
            named = {_name(key): _value(seen, time_of_day - round((told_at - seen.since) * 1e6)) for key, seen in batch}
            self._keep_newest(keys=list(named), args=[LIFETIME_S, *named.values()])
        except RedisAway:
            return
        except RedisError as error:
            log.warning("status.not_kept", error=str(error))


def _name(key: Key) -> str:
    client_id, transaction_id = key
    return f"status:{client_id}:{transaction_id.hex}"


def _micros(time_of_day: tuple[int, int]) -> int:
    seconds, micros = time_of_day
    return seconds * 1_000_000 + micros


def _value(seen: Seen, since_us: int) -> bytes:
    shape = seen.shape
    value = _Value(shape.version, since_us, shape.status, shape.error, shape.created_at, shape.completed_at)
    return msgspec.json.encode(value)


def _shape(key: Key, value: _Value) -> StatusShape:
    return StatusShape(
        id=key[1],
        receipt_code=receipt_code(key[1]),
        status=value.status,
        version=value.version,
        error=value.error,
        created_at=value.created_at,
        completed_at=value.completed_at,
    )
