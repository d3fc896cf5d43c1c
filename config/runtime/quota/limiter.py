"""Who may go on: decided from a lease where the client is far from its limit, else by Redis, and without it alone."""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import time
from collections.abc import Callable
from math import ceil
from typing import NamedTuple
from uuid import UUID, uuid4

from redis.exceptions import RedisError

from config.runtime.logging import get_logger
from config.runtime.metrics import QUOTA_CHECKS
from config.runtime.nudge import Nudge
from config.runtime.quota.bucket import TOKEN, Bucket, Quota
from config.runtime.quota.store import Ended, Store, Taken
from config.runtime.redis import RedisAway

MICROS = 1_000_000
LEASE_US = 100_000
# A lease is for who is expected to ask again while it lasts.
AGAIN_WITHIN_US = LEASE_US // 2
GIVEN_BACK_EVERY_S = 0.05
# Others give back what they hold and do not use: within a lease, a look and a round trip. Nobody is refused for it.
PATIENCE_US = 2 * LEASE_US
LOOK_S = 0.02
CLIENTS_MAX = 10_000

log = get_logger()


class Verdict(NamedTuple):
    """Whether it may be, what is left of the burst, and in how many seconds all of it is; if refused, it may be."""

    is_allowed: bool
    remaining: int
    reset_s: int


class _Lease:
    __slots__ = ("left", "name", "quota", "size", "until_us")

    def __init__(self, name: str, size: int, quota: Quota, until_us: int) -> None:
        self.name, self.size, self.left, self.quota, self.until_us = name, size, size, quota, until_us


class _Client:
    """What a process knows of a client: the bucket as Redis last told of it, and what was spent here since."""

    __slots__ = ("bucket", "is_borrowing", "lease", "seen_us")

    def __init__(self, now_us: int) -> None:
        self.bucket = Bucket(at_us=now_us)
        self.lease: _Lease | None = None
        self.is_borrowing = False
        self.seen_us = now_us - LEASE_US

    def is_covered(self, quota: Quota, cost: int, now_us: int) -> bool:
        """Spend from the lease, if there is one that covers it."""
        lease = self.lease
        if lease is None or cost > lease.left or now_us >= lease.until_us:
            return False
        lease.left -= cost
        self.seen_us = now_us
        self.bucket.settle(quota, now_us)
        self.bucket.debt += cost * TOKEN
        return True

    def end_lease(self) -> list[Ended]:
        lease, self.lease = self.lease, None
        return [] if lease is None else [Ended(lease.name, lease.size - lease.left)]


class Limiter:
    """The quotas of all clients, for one process, whose threads share it. Never raises.

    While Redis is away each process goes on alone with what it knows: a client then has its quota in each of them.
    `clock` and `server_clock` give microseconds; without the latter they are Redis' own.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], int] = lambda: time.monotonic_ns() // 1000,
        server_clock: Callable[[], int | None] = lambda: None,
        sleep: Callable[[float], object] = time.sleep,
        soon: Callable[[], object] | None = None,
    ) -> None:
        self._store, self._clock, self._server_clock, self._sleep = store, clock, server_clock, sleep
        self._soon = soon or Nudge("quota", self.give_back, every_s=GIVEN_BACK_EVERY_S)
        self._begin_process()
        os.register_at_fork(after_in_child=self._begin_process)
        atexit.register(self.give_back, everything=True)

    def take(self, client_id: UUID, quota: Quota, cost: int = 1) -> Verdict:
        """Take `cost` tokens of a client's, if they are there."""
        with self._lock:
            now_us = self._clock()
            client = self._clients.get(client_id) or self._add(client_id, now_us)
            if client.is_covered(quota, cost, now_us):
                return _allowed(quota, client.bucket.debt)
        return self._from_redis(client_id, client, quota, cost, give_up_us=now_us + PATIENCE_US)

    def give_back(self, *, everything: bool = False) -> None:
        """End the leases that are over, or all, and tell Redis what was spent of them."""
        now_us = self._clock()
        with self._lock:
            over = [
                (client_id, client, client.lease.quota)
                for client_id, client in self._lent.items()
                if client.lease is not None and (everything or now_us >= client.lease.until_us)
            ]
            ended = [(client_id, quota, client.end_lease()) for client_id, client, quota in over]
            for client_id, _, _ in over:
                del self._lent[client_id]
            is_any_left = bool(self._lent)
        for client_id, quota, leases in ended:
            self._call(client_id, quota, 0, ended=leases)
        if is_any_left:
            self._soon()

    def _from_redis(self, client_id: UUID, client: _Client, quota: Quota, cost: int, *, give_up_us: int) -> Verdict:
        while True:
            taken = self._ask(client_id, client, quota, cost)
            if taken is None:
                return self._alone(client, quota, cost)
            if taken.is_taken:
                return _allowed(quota, taken.debt)
            is_held_by_others = taken.held > 0 and taken.debt + cost * TOKEN <= quota.size
            if not is_held_by_others or self._clock() >= give_up_us:
                return _refused(quota, taken.debt, cost)
            self._sleep(LOOK_S)

    def _ask(self, client_id: UUID, client: _Client, quota: Quota, cost: int) -> Taken | None:
        """Ask Redis, telling what was spent of a lease, and for a new one where it will be of use."""
        asked_us = self._clock()
        with self._lock:
            ended = client.end_lease()
            self._lent.pop(client_id, None)
            is_borrowing = not client.is_borrowing and asked_us - client.seen_us < AGAIN_WITHIN_US
            client.is_borrowing |= is_borrowing
            client.seen_us = asked_us
        name = f"{self._name}:{next(self._numbers)}" if is_borrowing else ""
        taken = self._call(client_id, quota, cost, lease=name, size=quota.per_minute // 60, ended=ended)
        QUOTA_CHECKS.labels("process" if taken is None else "redis").inc()
        with self._lock:
            client.is_borrowing &= not is_borrowing
            if taken is not None:
                client.bucket = Bucket(at_us=self._clock(), debt=taken.debt)
                if taken.lent:
                    client.lease = _Lease(name, taken.lent, quota, asked_us + LEASE_US)
                    self._lent[client_id] = client
        if taken is not None and taken.lent:
            self._soon()
        return taken

    def _call(
        self,
        client_id: UUID,
        quota: Quota,
        cost: int,
        *,
        lease: str = "",
        size: int = 0,
        ended: list[Ended],
    ) -> Taken | None:
        now_us = self._server_clock()
        try:
            return self._store.take(client_id, quota, cost, lease=lease, size=size, ended=ended, now_us=now_us)
        except RedisAway:
            return None
        except RedisError as error:
            log.warning("quota.not_asked", error=str(error))
            return None

    def _alone(self, client: _Client, quota: Quota, cost: int) -> Verdict:
        with self._lock:
            is_taken = client.bucket.take(quota, cost, self._clock())
            debt = client.bucket.debt
        return _allowed(quota, debt) if is_taken else _refused(quota, debt, cost)

    def _begin_process(self) -> None:
        """Know nobody. A child has none of its parent's threads, and none of its leases."""
        self._lock = threading.Lock()
        self._clients: dict[UUID, _Client] = {}
        self._lent: dict[UUID, _Client] = {}
        self._name, self._numbers = uuid4().hex[:16], itertools.count()

    def _add(self, client_id: UUID, now_us: int) -> _Client:
        if len(self._clients) >= CLIENTS_MAX:
            self._clients = dict(self._lent)
        client = self._clients[client_id] = _Client(now_us)
        return client


def _allowed(quota: Quota, debt: int) -> Verdict:
    return Verdict(True, max(0, quota.size - debt) // TOKEN, ceil(debt / quota.per_minute / MICROS))


def _refused(quota: Quota, debt: int, cost: int) -> Verdict:
    lacking = max(1, debt + cost * TOKEN - quota.size)
    return Verdict(False, max(0, quota.size - debt) // TOKEN, ceil(lacking / quota.per_minute / MICROS))
