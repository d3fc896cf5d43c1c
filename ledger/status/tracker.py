"""The status tracker (spec 001): memory, Redis, database, each asked only where the one before cannot tell."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Iterable, Sequence
from uuid import UUID

from django.conf import settings

from config.runtime.database import raw_cursor
from config.runtime.errors import DomainError, Kind, NotFound
from config.runtime.hit_rate import HitRate
from config.runtime.metrics import STATUS_CACHE_HIT_RATE, STATUS_CACHE_SIZE, STATUS_LOOKUPS
from config.runtime.redis import GuardedRedis, redis_client
from ledger.domain.shapes import TransactionShape
from ledger.status.memory import Memory
from ledger.status.shape import Key, Seen, StatusRow, StatusShape, status_of, status_of_row
from ledger.status.store import Store
from ledger.status.writer import Writer

SIZE_MAX = 100_000
READS_MAX = 3
READ = """
SELECT status, version, error_code,
    CASE
        WHEN status = 'failed' AND terms -> 'by_legs' = 'true' THEN (
            SELECT reason FROM ledger_transactionevent WHERE transaction_id = t.id ORDER BY id DESC LIMIT 1
        )
    END,
    attempts, created_at, completed_at
FROM ledger_transaction t
WHERE id = %s AND client_id = %s
"""


class StatusUnsettled(DomainError):
    """The database takes too long to say where the transaction stands; ask again."""

    kind, code = Kind.BUSY, "dependency_unavailable"


class StatusTracker:
    """Tells where transactions stand. What it shows was true at most a second ago, and its versions never go down."""

    def __init__(self, redis: GuardedRedis, *, interval_s: float, ttl_s: float, size_max: int = SIZE_MAX) -> None:
        self._interval_s = interval_s
        self._memory = Memory(size_max=size_max, interval_s=interval_s, ttl_s=ttl_s)
        self._store = Store(redis)
        self._writer = Writer(self._store.write)
        self._rate = HitRate()
        os.register_at_fork(after_in_child=self._begin_process)
        atexit.register(self._writer.flush)

    def announce(self, changes: Sequence[tuple[int, StatusShape]], *, begun_at: float) -> None:
        """Note statuses that were just committed, each with its client's id; Redis hears of them soon after.

        Call after the commit, with the `time.monotonic()` of a moment before it: the status was true when it was
        committed, but may have moved on since. Costs its caller microseconds, and fails never.
        """
        seen = [((client_id, shape.id), Seen(shape, begun_at)) for client_id, shape in changes]
        self._memory.learn_all(seen)
        STATUS_CACHE_SIZE.set(len(self._memory))
        self._writer.put(seen)

    def saw(self, client_id: int, shape: TransactionShape, *, since: float) -> None:
        """Note what was read of a client's transaction and is shown, so that no status shows less afterwards.

        `since` is the `time.monotonic()` of a moment before it was read.
        """
        self._memory.learn((client_id, shape.id), Seen(status_of(shape), since))

    def saw_all(self, client_id: int, shapes: Iterable[StatusShape], *, since: float) -> None:
        """Note, likewise, what is shown of a client's transactions that was read earlier and kept."""
        self._memory.learn_all([((client_id, shape.id), Seen(shape, since)) for shape in shapes])

    def look_up(self, client_id: int, transaction_id: UUID) -> StatusShape:
        """Return where one of a client's transactions stands. Call outside of database transactions.

        Raises:
            NotFound: the client has no such transaction.
            StatusUnsettled: the database needs more than a second to answer.
        """
        key = (client_id, transaction_id)
        shape = self._memory.get(key)
        source = "memory"
        if shape is None:
            shape, source = self._from_redis(key), "redis"
        if shape is None:
            shape, source = self._from_database(key), "database"
        STATUS_LOOKUPS.labels(source).inc()
        STATUS_CACHE_HIT_RATE.set(self._rate.count(is_hit=source != "database"))
        STATUS_CACHE_SIZE.set(len(self._memory))
        return shape

    def _from_redis(self, key: Key) -> StatusShape | None:
        seen = self._store.read(key)
        if seen is None or not (seen.shape.is_final or time.monotonic() - seen.since < self._interval_s):
            return None
        return self._memory.learn(key, seen)

    def _from_database(self, key: Key) -> StatusShape:
        for _ in range(READS_MAX):
            seen = _read(key)
            if seen is None:
                return self._just_made(key)
            shape = self._memory.learn(key, seen)
            if shape is not None:
                self._writer.put([(key, seen)])
                return shape
        raise StatusUnsettled(retry_after_s=1)

    def _just_made(self, key: Key) -> StatusShape:
        """Return what was announced while the database was read: who has been shown something finds it again."""
        shape = self._memory.get(key)
        if shape is None:
            raise NotFound
        return shape

    def _begin_process(self) -> None:
        """A child has none of its parent's threads: one of them may have held a lock."""
        self._memory.begin_process()
        self._writer.begin_process()
        self._rate = HitRate()


def _read(key: Key) -> Seen | None:
    client_id, transaction_id = key
    with raw_cursor() as cursor:
        asked_at = time.monotonic()  # after the wait for a connection
        row = cursor.execute(READ, (transaction_id, client_id)).fetchone()
    return None if row is None else Seen(status_of_row(transaction_id, StatusRow(*row)), asked_at)


_tracker = StatusTracker(
    redis_client(settings.REDIS_URL), interval_s=settings.STATUS_UPDATE_INTERVAL, ttl_s=settings.STATUS_CACHE_TTL
)
announce = _tracker.announce
look_up = _tracker.look_up
saw = _tracker.saw
saw_all = _tracker.saw_all
