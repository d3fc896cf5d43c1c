"""Answers that are made once and shown until something of theirs is written.

Every value stands under one version. Who writes replaces the versions of what the write touches, after the commit and
before anybody is answered; who reads gets a value only where its version is the present one.

Why nobody is shown less than the write that he has been told of:

1. The version is read, or made, before the database is; the value is kept under that version and no other. A write that
   the reader did not see had not committed then, so its bump comes later and replaces the version. What was read before
   the commit is never kept under what came after it, however late it is kept.
2. A version never comes twice (see the store). Eviction, a flush and a lifetime that ends can only lose values.
3. The bump is done when the answer to the write goes out. Where it fails (Redis is away, hangs, refuses) this process
   owes it: it tries ten times a second, and until it has succeeded this process reads past the cache.

So a process that answers a write shows it from then on, whatever happens to Redis; every other process does too, but
where a bump is lost: the writer does not reach Redis and they do, or it died between its commit and the bump. Then they
may show what was kept before until the writer has made up for it, or the relay, which bumps again by what has happened
(`bump_again`): about a second after both reach Redis. Where that is not being done, or is late, `show_followed` is not
called: then nothing is shown that is older than `UNSURE_S`, and in no case anything older than `ttl_s`.

What is not promised: who reads the row itself, between a commit and its bump, may be ahead of a value by that
millisecond. And a Redis that comes back as it once was, from a snapshot or as a replica that lagged, shows what it had
then for `ttl_s` at most: give the cache a server that keeps nothing on disk.

Of those who look for the same value at the same time one makes it; the others look again for a quarter of a second, and
then read for themselves. Nobody waits longer, whoever dies.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from redis import Redis
from redis.exceptions import RedisError

from config.runtime.cache.store import Fill, Hit, Stamps, Store, Version, fresh
from config.runtime.hit_rate import HitRate
from config.runtime.logging import get_logger
from config.runtime.metrics import CACHE_BUMPS_FAILED, CACHE_HIT_RATIO, CACHE_READS
from config.runtime.nudge import Nudge
from config.runtime.redis import RedisAway

UNSURE_S = 5
ASK_EVERY_S = 1.0
LOOK_EVERY_S, PATIENCE_S = 0.01, 0.25
PAY_EVERY_S = 0.1
OWED_MAX = 100_000
# A larger value costs Redis more than it saves here.
SIZE_MAX = 256 * 1024

log = get_logger()


class Found(NamedTuple):
    """A value, and how old it may be in seconds: None where it was made just now."""

    value: bytes
    age_s: float | None = None


class VersionedCache:
    """The cache of one process, whose threads share it. Never raises but what `make` raises.

    With `is_on` false nothing is read from it and nothing kept; writes bump all the same, so that processes with and
    without it may run side by side.
    """

    _ask_at: float

    def __init__(self, client: Redis, *, ttl_s: int, is_on: bool = True) -> None:
        self._store = Store(client, ttl_s=ttl_s)
        self._ttl_s, self._is_on = ttl_s, is_on
        self._soon = Nudge("cache", self.pay, every_s=PAY_EVERY_S)
        self._begin_process()
        os.register_at_fork(after_in_child=self._begin_process)
        atexit.register(self.pay)

    @property
    def is_behind(self) -> bool:
        """Whether a bump of this process has failed and is not made up for yet."""
        return bool(self._owed) or time.monotonic() < self._past_until

    def read(self, kind: str, version: Version, name: str, make: Callable[[], bytes]) -> Found:
        """Return the value `name` as it stands under `version`; make it where there is none.

        `kind` labels the metrics and must come from a small fixed set; `name` must say all that the value depends on,
        beside what bumps the version: above all, who may see it.
        """
        if not self._is_on:
            return Found(make())
        outcome, found = self._read(version, name, make)
        CACHE_READS.labels(kind, outcome).inc()
        CACHE_HIT_RATIO.labels(kind).set(self._rates.setdefault(kind, HitRate()).count(is_hit=outcome == "hit"))
        return found

    def bump(self, stamps: Stamps) -> None:
        """Have nothing shown any more that was kept under these versions. Call after the commit, before the answer.

        A stamp names the write, and no two writes have the same: so that `bump_again` finds what was done.
        """
        try:
            self._store.bump(stamps)
        except (RedisAway, RedisError) as error:
            CACHE_BUMPS_FAILED.inc()
            log.warning("cache.bump_failed", error=str(error))
            self._owe(Version(owner, name) for owner, names in stamps.items() for name in names)

    def bump_again(self, stamps: Stamps) -> None:
        """Bump those of which the last bump was not that of the write with this stamp; "" for more writes than one.

        Raises:
            RedisAway, RedisError: it is to be done once more.
        """
        self._store.bump(stamps, is_again=True)

    def show_followed(self) -> None:
        """Say that every write of more than a moment ago was bumped again, so that values may live long.

        Raises:
            RedisAway, RedisError
        """
        self._store.show_followed()

    def pay(self) -> None:
        """Try to make up for the bumps that failed; where it is in vain, it is tried again soon."""
        with self._lock:
            owed = dict(self._owed)
        if not owed:
            return
        try:
            self._store.bump(_anew(owed))
        except (RedisAway, RedisError):
            self._soon()
            return
        with self._lock:
            for version, debt in owed.items():
                if self._owed.get(version) is debt:  # else it has failed once more since
                    del self._owed[version]

    def _read(self, version: Version, name: str, make: Callable[[], bytes]) -> tuple[str, Found]:
        try:
            found = None if self.is_behind else self._look(version, name)
        except (RedisAway, RedisError):
            return "past", Found(make())
        if isinstance(found, Hit):
            return "hit", Found(*found)
        if isinstance(found, Fill):
            return "miss", Found(self._filled(version, name, found, make))
        return "past", Found(make())

    def _look(self, version: Version, name: str) -> Hit | Fill | None:
        """Look until there is something, or until patience is over."""
        until = time.monotonic() + PATIENCE_S
        while True:
            found = self._store.look(version, name, age_s_max=self._age_s_max())
            if found is not None or time.monotonic() >= until:
                return found
            time.sleep(LOOK_EVERY_S)

    def _filled(self, version: Version, name: str, fill: Fill, make: Callable[[], bytes]) -> bytes:
        value = None
        try:
            value = make()
        finally:
            self._keep(version, name, fill, value)
        return value

    def _keep(self, version: Version, name: str, fill: Fill, value: bytes | None) -> None:
        try:
            self._store.keep(version, name, fill, value if value is not None and len(value) <= SIZE_MAX else None)
        except (RedisAway, RedisError):
            return  # the next one fills

    def _age_s_max(self) -> float:
        """Return how old a value may be: what was heard of that a moment ago will do."""
        now = time.monotonic()
        if now >= self._ask_at:
            self._is_followed = self._store.is_followed()
            self._ask_at = now + ASK_EVERY_S
        return self._ttl_s if self._is_followed else min(UNSURE_S, self._ttl_s)

    def _owe(self, versions: Iterable[Version]) -> None:
        with self._lock:
            self._owed |= {version: object() for version in versions}
            if len(self._owed) > OWED_MAX:
                # Too many to name: until all that was kept before has come to its end. Others have the relay.
                self._owed.clear()
                self._past_until = time.monotonic() + self._ttl_s
        self._soon()

    def _begin_process(self) -> None:
        """A child has none of its parent's threads, and none of its debts."""
        self._lock = threading.Lock()
        self._owed: dict[Version, object] = {}
        self._past_until = 0.0
        self._ask_at = 0.0
        self._is_followed = False
        self._rates: dict[str, HitRate] = {}


def _anew(versions: Iterable[Version]) -> Stamps:
    stamps: dict[int, dict[str, str]] = {}
    for version in versions:
        stamps.setdefault(version.owner, {})[version.name] = fresh()
    return stamps
