"""A circuit breaker: after enough failures a dependency is left alone for a while, then tried by one call.

One per process and dependency. No lock is held while the protected call runs, so a slow dependency never
makes callers queue behind each other here.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import ParamSpec, TypeVar

from config.runtime.errors import DomainError, Kind
from config.runtime.metrics import BREAKER_REJECTIONS, BREAKER_STATE

P = ParamSpec("P")
R = TypeVar("R")


class BreakerOpen(DomainError):
    """Something the service depends on does not answer; it is left alone until `retry_after_s` has passed."""

    kind, code = Kind.BUSY, "dependency_unavailable"


class BreakerState(IntEnum):
    """The values of the gauge `breaker_state`."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Opens when, of the last `window_calls` calls that ended within `window_s`, at least `failures_min` and at
    least the share `failure_ratio` failed. Stays open for `open_s`; then exactly one call is let through: its success
    closes the breaker, its failure opens it again.

    A call fails by raising one of `failures` that is none of `spared`. Any other exception is an answer of the
    dependency and counts as success; what is no `Exception` (an interrupt) says nothing about it.

    `name` labels the metrics and must come from a small fixed set. `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        failures: tuple[type[Exception], ...],
        spared: tuple[type[Exception], ...] = (),
        failures_min: int = 5,
        failure_ratio: float = 0.5,
        window_s: float = 10.0,
        window_calls: int = 100,
        open_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._failures, self._spared = failures, spared
        self._failures_min, self._failure_ratio = failures_min, failure_ratio
        self._window_s, self._window_calls, self._open_s = window_s, window_calls, open_s
        self._clock = clock
        self._epoch = 0
        self._retry_at = 0.0
        self._forget()
        BREAKER_STATE.labels(name).set(BreakerState.CLOSED)
        _breakers.add(self)

    @property
    def state(self) -> BreakerState:
        """The present state; open remains open until a call comes to try again."""
        return self._state

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Run the block as one protected call.

        Raises:
            BreakerOpen: the block was not entered.
        """
        epoch = self._enter()
        failed: bool | None = None
        try:
            yield
            failed = False
        except Exception as error:
            failed = isinstance(error, self._failures) and not isinstance(error, self._spared)
            raise
        finally:
            self._leave(epoch, failed=failed)

    def call(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return `fn(*args, **kwargs)`, run under `guard`."""
        with self.guard():
            return fn(*args, **kwargs)

    def _enter(self) -> int:
        """Return the epoch in which the call begins: every move of the state starts a new one."""
        with self._lock:
            if self._state is BreakerState.CLOSED:
                return self._epoch
            wait_s = self._retry_at - self._clock()
            if self._state is BreakerState.OPEN and wait_s <= 0:
                self._move(BreakerState.HALF_OPEN)
                return self._epoch
        BREAKER_REJECTIONS.labels(self.name).inc()
        raise BreakerOpen(retry_after_s=max(1, math.ceil(wait_s)))

    def _leave(self, epoch: int, *, failed: bool | None) -> None:
        with self._lock:
            if epoch != self._epoch:
                return  # begun before the last move: says nothing about the dependency as it is now
            now = self._clock()
            if self._state is BreakerState.CLOSED:
                if failed is not None and self._is_too_much(now, failed=failed):
                    self._open(until=now + self._open_s)
            elif failed is False:
                self._move(BreakerState.CLOSED)
            else:
                self._open(until=now + self._open_s if failed else now)

    def _is_too_much(self, now: float, *, failed: bool) -> bool:
        """Count one call; tell whether the failures of the window pass the bound."""
        calls = self._calls
        calls.append((now, failed))
        self._failed += failed
        while len(calls) > self._window_calls or calls[0][0] <= now - self._window_s:
            self._failed -= calls.popleft()[1]
        return self._failed >= self._failures_min and self._failed >= self._failure_ratio * len(calls)

    def _open(self, *, until: float) -> None:
        self._retry_at = until
        self._move(BreakerState.OPEN)

    def _move(self, to: BreakerState) -> None:
        self._state = to
        self._epoch += 1
        self._calls.clear()
        self._failed = 0
        BREAKER_STATE.labels(self.name).set(to)

    def _forget(self) -> None:
        """Start closed, with nothing counted."""
        self._lock = threading.Lock()
        self._state = BreakerState.CLOSED
        self._epoch += 1
        self._calls: deque[tuple[float, bool]] = deque()
        self._failed = 0


_breakers: weakref.WeakSet[Breaker] = weakref.WeakSet()


def _forget_all() -> None:
    for breaker in tuple(_breakers):
        breaker._forget()  # noqa: SLF001  (this module's own)


# A child has none of its parent's threads: one of them may have held a lock, or been the probe that all wait for.
os.register_at_fork(after_in_child=_forget_all)
