"""The micro-batcher: callers of many threads meet, and one flush does the work of all of them.

While a flush runs the next group gathers by itself, so groups grow with the load and a lone caller does not wait.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from config.runtime import units
from config.runtime.errors import DomainError, Kind

LOGGER = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


class QueueFull(DomainError):
    """Too much is waiting already; nothing of the request was done."""

    kind, code = Kind.BUSY, "queue_full"


class ShuttingDown(DomainError):
    """The process is stopping and begins nothing new; nothing of the request was done."""

    kind, code = Kind.BUSY, "shutting_down"


class NotBegun(DomainError):
    """The time to wait passed before the work began; nothing was done, and nothing will be."""

    kind, code = Kind.BUSY, "not_begun"


class OutcomeUnknown(DomainError):
    """The work began, but how it ended cannot be told; ask again with the same idempotency key."""

    kind, code = Kind.BUSY, "outcome_unknown"


class _Ticket(Generic[T, R]):
    """One item on its way. `done` is held until the outcome is there: a plain lock is the cheapest event."""

    __slots__ = ("answer", "begun_at", "done", "error", "item", "queued_at")

    answer: R
    begun_at: float

    def __init__(self, item: T) -> None:
        self.item = item
        self.queued_at = time.monotonic()
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()

    def settle(self, outcome: R | Exception) -> None:
        if isinstance(outcome, Exception):
            self.error = outcome
        else:
            self.answer = outcome
        self.done.release()

    def outcome(self) -> R:
        error, self.error = self.error, None
        if error is None:
            return self.answer
        try:
            raise error
        finally:
            del error  # else the error keeps this frame, and the frame the error


class MicroBatcher(Generic[T, R]):
    """Runs `flush` on groups of at most `size_max` items, one group at a time, in order of arrival.

    `flush` returns one outcome per item, in order; an outcome that is an exception is raised in its caller. If `flush`
    itself raises, every caller of the group gets a copy of its own. With `linger_s` a group that is not full begins
    when its oldest item has waited that long, or when nobody else is on the way: every commit costs the same, so where
    many are, they wait for one another, and a lone caller does not. `observe(size, seconds)` hears of every group, once
    it has its answers.

    The thread is started by the first item, in each process; `close` ends it.
    """

    _thread: threading.Thread | None

    def __init__(
        self,
        *,
        name: str,
        flush: Callable[[Sequence[T]], Sequence[R | Exception]],
        size_max: int = 50,
        linger_s: float = 0.0,
        pending_max: int = 10_000,
        group_timeout_s: float = 30.0,
        observe: Callable[[int, float], None] | None = None,
    ) -> None:
        self.name = name
        self._flush, self._observe = flush, observe
        self._size_max, self._linger_s = size_max, linger_s
        self._pending_max, self._group_timeout_s = pending_max, group_timeout_s
        self._closing = False
        self._begin_process()
        _batchers.add(self)

    def submit(self, item: T, *, timeout_s: float) -> R:
        """Return the outcome of `item`.

        Waits up to `timeout_s` for the item's group to begin; once begun, to its end.

        Raises:
            NotBegun: the group did not begin in time; the item is withdrawn and never runs.
            OutcomeUnknown: the group began and runs for more than `group_timeout_s`, or answered out of shape.
            QueueFull: `pending_max` items wait already.
            ShuttingDown: `close` was called.
            Exception: what `flush` raised, or gave as the item's outcome.
        """
        ticket: _Ticket[T, R] = _Ticket(item)
        self._enqueue(ticket)
        try:
            if not ticket.done.acquire(timeout=max(0.0, timeout_s)):
                self._wait_on(ticket)
        finally:
            units.end_waiting()
        return ticket.outcome()

    def close(self, timeout_s: float) -> bool:
        """Refuse new items, flush those that wait, end the thread. Return whether all that happened in time."""
        with self._lock:
            self._closing = True
            self._wake.notify()
            thread = self._thread
        if thread is None:
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def _enqueue(self, ticket: _Ticket[T, R]) -> None:
        with self._lock:
            if self._closing:
                raise ShuttingDown(retry_after_s=1)
            if len(self._pending) >= self._pending_max:
                raise QueueFull(retry_after_s=1)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=f"batcher-{self.name}", daemon=True)
                thread.start()
                self._thread = thread
            self._pending[ticket] = None
            units.begin_waiting()  # not before: till it is in its group, it is on the way there
            # The thread sleeps only without items, or while it lingers for others.
            is_last = self._linger_s > 0 and units.on_their_way() <= 0
            if is_last or len(self._pending) in {1, self._size_max}:
                self._wake.notify()

    def _wait_on(self, ticket: _Ticket[T, R]) -> None:
        """The caller's time is up: withdraw what has not begun, else wait for the group's end."""
        with self._lock:
            if ticket in self._pending:
                del self._pending[ticket]
                raise NotBegun(retry_after_s=1)
        left_s = ticket.begun_at + self._group_timeout_s - time.monotonic()
        if not ticket.done.acquire(timeout=max(0.0, left_s)):
            raise OutcomeUnknown(retry_after_s=1)

    def _run(self) -> None:
        while group := self._next_group():
            began = time.monotonic()
            self._settle(group)
            if self._observe is not None:
                self._report(self._observe, len(group), time.monotonic() - began)

    def _next_group(self) -> list[_Ticket[T, R]]:
        """Wait for items; return the next group, begun, or nothing once closed and empty."""
        with self._lock:
            while (delay_s := self._delay_s()) != 0:
                if delay_s is None and self._closing:
                    return []
                self._wake.wait(delay_s)
            group = [self._pending.popitem(last=False)[0] for _ in range(min(self._size_max, len(self._pending)))]
            now = time.monotonic()
            for ticket in group:
                ticket.begun_at = now
            return group

    def _delay_s(self) -> float | None:
        """Return how long the next group has to wait, 0 for not at all, None for the first item to come."""
        if not self._pending:
            return None
        if not self._linger_s or self._closing or len(self._pending) >= self._size_max:
            return 0
        if units.on_their_way() <= 0:
            return 0
        oldest = next(iter(self._pending))
        return max(0, oldest.queued_at + self._linger_s - time.monotonic())

    def _settle(self, group: list[_Ticket[T, R]]) -> None:
        try:
            outcomes = self._outcomes_of(group)
        except BaseException as error:  # noqa: BLE001  (every caller raises it; the thread lives on for the next group)
            for ticket in group:
                ticket.error = _copy_of(error)
                ticket.done.release()
        else:
            for ticket, outcome in zip(group, outcomes, strict=True):
                ticket.settle(outcome)

    def _outcomes_of(self, group: list[_Ticket[T, R]]) -> Sequence[R | Exception]:
        outcomes = self._flush([ticket.item for ticket in group])
        if len(outcomes) != len(group):
            raise OutcomeUnknown(f"{len(group)} items went in, {len(outcomes)} outcomes came out.")
        return outcomes

    def _report(self, observe: Callable[[int, float], None], size: int, seconds: float) -> None:
        try:
            observe(size, seconds)
        except Exception:
            LOGGER.exception("The observer of batcher %s failed.", self.name)

    def _begin_process(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._pending: OrderedDict[_Ticket[T, R], None] = OrderedDict()
        self._thread = None


def _copy_of(error: BaseException) -> BaseException:
    """Return an equal exception, caused by `error`: threads that raise one object would mix their tracebacks."""
    try:
        copy = type(error).__new__(type(error), *error.args)
    except TypeError:
        return error  # a class that cannot be rebuilt from its arguments; a mixed traceback is the lesser harm
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error
    return copy


_batchers: weakref.WeakSet[MicroBatcher[Any, Any]] = weakref.WeakSet()


def close_all(timeout_s: float) -> bool:
    """Close every batcher of this process, at its end. Return whether all that waited was flushed in time."""
    deadline = time.monotonic() + timeout_s
    closed = [batcher.close(max(0.0, deadline - time.monotonic())) for batcher in tuple(_batchers)]
    return all(closed)


def _begin_process() -> None:
    for batcher in tuple(_batchers):
        batcher._begin_process()  # noqa: SLF001  (this module's own)


# A child has no thread of its parent's, and what its parent's callers wait for is not the child's to do.
os.register_at_fork(after_in_child=_begin_process)
