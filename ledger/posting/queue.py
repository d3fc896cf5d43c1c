"""The posting queue: how long it is, whether there is room (spec 001, ProcessorQueueSize), and how fast it drains."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass

import msgspec
from django.conf import settings

from config.runtime.batching import QueueFull
from config.runtime.lifecycle import Step, lifecycle
from config.runtime.metrics import TRANSACTIONS_QUEUE_SIZE, TRANSACTIONS_REFUSED
from config.runtime.nudge import Nudge
from ledger.locks import Cursor

LOOK_EVERY_S = 0.1
# Where fewer places are left, accepting is done in turns, with an exact count: the bound is never passed. Elsewhere a
# count of a moment ago will do: all processes together do not accept so many before the next.
NEAR_SHARE, NEAR_PLACES = 0.2, 1000
# Whoever finds the queue full is to come again when a tenth of it may have drained.
DRAINED_SHARE, RETRY_AFTER_S_MAX = 0.1, 60
# The server counts with a second's delay, and what was so a minute ago says nothing of now.
MEASURED_OVER_S, MEASURED_OVER_S_MAX = 3.0, 60.0
SAY_EVERY_S = 1.0

# How many rows are due, counted no further than one beyond the bound, and how many have ever left, on all processes.
DEPTH = """
SELECT count(*), pg_stat_get_tuples_deleted('ledger_queuedposting'::regclass)
FROM (
    SELECT
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


class Drain:
    """How fast a queue drains, measured between looks at how many have ever left it. Call it under a lock."""

    def __init__(self) -> None:
        self._mark: tuple[float, int] | None = None
        self._per_s: float | None = None

    def note(self, left: int, *, at: float) -> None:
        """Note how many have ever left; `at` is of the monotonic clock, in seconds."""
        if self._mark is None:
            self._mark = at, left
            return
        begun, before = self._mark
        if at - begun >= MEASURED_OVER_S:
            # A server that has crashed counts from 0 again.
            is_known = left >= before and at - begun <= MEASURED_OVER_S_MAX
            self._per_s = (left - before) / (at - begun) if is_known else None
            self._mark = at, left

    def retry_after_s(self, size: int) -> int:
        """Return in how many seconds a tenth of a queue of this size has drained, from 1 to 60; 1 if nobody knows."""
        if self._per_s is None:
            return 1
        if not self._per_s:
            return RETRY_AFTER_S_MAX
        return max(1, min(RETRY_AFTER_S_MAX, math.ceil(DRAINED_SHARE * size / self._per_s)))


class _Queue:
    """The length of the queue as this process last saw it, and what it has added since."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth, self._added = 0, 0
        self._drain = Drain()
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
                self._depth, left = cursor.fetchall()[0]
                looked_at = time.monotonic()
                self._added, self._look_at = 0, looked_at + LOOK_EVERY_S
                self._drain.note(left, at=looked_at)
                TRANSACTIONS_QUEUE_SIZE.set(self._depth)
            size = settings.PROCESSOR_QUEUE_SIZE
            return Room(size - self._depth - self._added, self._drain.retry_after_s(size))

    @property
    def depth(self) -> int:
        """How many were due when they were last counted."""
        return self._depth

    def joined(self, count: int) -> None:
        """Count what this process has committed."""
        with self._lock:
            self._added += count


class _Refusals:
    """Counts what a full queue refused, and has it said in one line a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unsaid = 0
        self._example = Step(receipt="")
        self._say = Nudge("refusals", self._write, every_s=SAY_EVERY_S)

    def note(self, example: Step) -> None:
        """Note the refusal of a transaction, which the next line may show as an example."""
        TRANSACTIONS_REFUSED.inc()
        with self._lock:
            self._unsaid += 1
            self._example = example
        self._say()

    def _write(self) -> None:
        with self._lock:
            count, self._unsaid = self._unsaid, 0
            said = msgspec.structs.replace(self._example, refused=count)
        if count:
            lifecycle("queue.full", [said])


QUEUE = _Queue()
note_refusal = _Refusals().note
