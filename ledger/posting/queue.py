"""The posting queue: how long it is, and whether there is room (spec 001, ProcessorQueueSize)."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass

from django.conf import settings

from config.runtime.batching import QueueFull
from config.runtime.metrics import TRANSACTIONS_QUEUE_SIZE
from ledger.locks import Cursor

LOOK_EVERY_S = 0.1
# Where fewer places are left, accepting is done in turns, with an exact count: the bound is never passed. Elsewhere a
# count of a moment ago will do: all processes together do not accept so many before the next.
NEAR_SHARE, NEAR_PLACES = 0.2, 1000
RETRY_AFTER_S_MAX = 60
DRAINED_SHARE = 0.1

# How many rows are due, counted no further than one beyond the bound, and how long the first has waited.
DEPTH = """
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(next_attempt_at)), 0)::float
FROM (
    SELECT next_attempt_at
    FROM ledger_queuedposting
    WHERE next_attempt_at <= clock_timestamp()
    ORDER BY next_attempt_at
    LIMIT %s
) due
"""
# (The number says "room" in ASCII.)
LOCK_ROOM = "SELECT pg_advisory_xact_lock(1919905645, 0)"


@dataclass(frozen=True, slots=True)
class Room:
    """How many more may join the queue, and when to come again if none may."""

    places: int
    retry_after_s: int

    def objection(self, joining: int) -> QueueFull | None:
        """Return the refusal of one more after `joining` of the same commit."""
        if joining < self.places:
            return None
        return QueueFull("The posting queue is full.", retry_after_s=self.retry_after_s)


class _Queue:
    """The length of the queue as this process last saw it, and what it has added since."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth, self._waited_s, self._added = 0, 0.0, 0
        self._look_at = 0.0

    def ask(self, cursor: Cursor, joining: int) -> bool:
        """Send the count, in a pipeline if there is one, where what is remembered is too old; tell whether it was."""
        size = settings.PROCESSOR_QUEUE_SIZE
        is_near = size - self._depth - self._added - joining < max(NEAR_SHARE * size, NEAR_PLACES)
        if is_near:
            cursor.execute(LOCK_ROOM)
        elif time.monotonic() < self._look_at:
            return False
        self.count(cursor)
        return True

    def count(self, cursor: Cursor) -> None:
        """Send the count, whose answer `room` reads."""
        cursor.execute(DEPTH, [settings.PROCESSOR_QUEUE_SIZE + 1])

    def room(self, cursor: Cursor | None) -> Room:
        """Return the room that is left, from the count that `cursor` was asked for, or from memory."""
        with self._lock:
            if cursor is not None:
                self._depth, self._waited_s = cursor.fetchall()[0]
                self._added, self._look_at = 0, time.monotonic() + LOOK_EVERY_S
                TRANSACTIONS_QUEUE_SIZE.set(self._depth)
            return Room(settings.PROCESSOR_QUEUE_SIZE - self._depth - self._added, self._retry_after_s())

    @property
    def depth(self) -> int:
        """How many were due when they were last counted."""
        return self._depth

    def joined(self, count: int) -> None:
        """Count what this process has committed."""
        with self._lock:
            self._added += count

    def _retry_after_s(self) -> int:
        """A tenth of what waits is gone in a tenth of the time that the first has waited: as many came as went."""
        return max(1, min(RETRY_AFTER_S_MAX, math.ceil(DRAINED_SHARE * self._waited_s)))


QUEUE = _Queue()
