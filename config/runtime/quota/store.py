"""The buckets of all clients, in Redis: one key for each, and one script that does everything to it.

A process that is far from the limit borrows tokens: a lease. They are held for it, beside what was spent, and do not
drain: what is spent and what is held never exceeds the bucket. It tells what it spent when it comes again, and what it
does not tell within HELD_S counts as spent. So no client gets more than its quota, whoever is killed or frozen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from redis import Redis
from redis.commands.core import Script

from config.runtime.quota.bucket import TOKEN, Quota

HELD_S = 0.5
LEASE_MIN = 2
# A clock that is set back by less stands still until it is where it was; by more, it goes on from where it is.
SET_BACK_US_MAX = 1_000_000
# The bucket is [debt, since when, {lease: [tokens, until when]}], in microseconds and in the units of `TOKEN`: whole
# numbers below 2^53. Arguments: time or "" for the server's, quota, cost, a lease's name or "", its size, and of each
# lease that ends its name and what was spent of it. Far from the limit is below half; a lease is a quarter of the way.
TAKE = f"""
local TOKEN, HELD_US, LEASE_MIN = {TOKEN}, {round(HELD_S * 1e6)}, {LEASE_MIN}
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local rate, size, cost = tonumber(ARGV[2]), ARGV[3] * TOKEN, ARGV[4] * TOKEN
local stored = redis.call('GET', KEYS[1])
local debt, since, leases = 0, now, {{}}
if stored then
  debt, since, leases = unpack(cmsgpack.unpack(stored))
end
if now < since and since - now < {SET_BACK_US_MAX} then
  now = since
end
debt = math.max(0, debt - math.max(0, now - since) * rate)
for i = 7, #ARGV, 2 do
  if leases[ARGV[i]] then
    debt = debt + ARGV[i + 1] * TOKEN
    leases[ARGV[i]] = nil
  end
end
local held = 0
for name, lease in pairs(leases) do
  if now >= lease[2] or lease[2] - now > HELD_US then
    debt = debt + lease[1] * TOKEN
    leases[name] = nil
  else
    held = held + lease[1] * TOKEN
  end
end
local taken, lent = 0, 0
if debt + held + cost <= size then
  taken = 1
  debt = debt + cost
  lent = math.min(ARGV[6], math.floor((size / 2 - debt - held) / 4 / TOKEN))
  if ARGV[5] ~= '' and lent >= LEASE_MIN then
    leases[ARGV[5]] = {{lent, now + HELD_US}}
    held = held + lent * TOKEN
  else
    lent = 0
  end
end
local drained_ms = math.ceil((debt + held) / rate / 1000)
redis.call('SET', KEYS[1], cmsgpack.pack({{debt, now, leases}}), 'PX', drained_ms + {SET_BACK_US_MAX // 1000})
return {{taken, debt, held, lent}}
"""


class Taken(NamedTuple):
    """What became of it: whether the tokens were there, what is spent now, what leases hold, and what was lent."""

    is_taken: bool
    debt: int
    held: int
    lent: int


class Ended(NamedTuple):
    """A lease that ends, and how many of its tokens were spent."""

    name: str
    spent: int


class Store:
    """The buckets in one Redis, asked as its client asks: a guarded one raises `RedisAway` in an outage."""

    def __init__(self, client: Redis) -> None:
        self._take: Script = client.register_script(TAKE)

    def take(
        self,
        client_id: UUID,
        quota: Quota,
        cost: int,
        *,
        lease: str = "",
        size: int = 0,
        ended: Iterable[Ended] = (),
        now_us: int | None = None,
    ) -> Taken:
        """End leases, and take `cost` tokens if they are there; far from the limit lend up to `size` more as `lease`.

        `now_us` is the time on a clock of the caller's; without it, it is the server's.
        """
        told = [part for one in ended for part in one]
        now = "" if now_us is None else now_us
        args: list[str | int] = [now, quota.per_minute, quota.burst, cost, lease, size, *told]
        taken, debt, held, lent = self._take(keys=[f"quota:{{{client_id}}}"], args=args)
        return Taken(bool(taken), debt, held, lent)
