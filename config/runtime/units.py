"""A unit of work: one request, message, job or command, and what is known of it so far."""

from __future__ import annotations

import os
import threading
import time
import traceback
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

TRACEBACK_MAX = 16_384


@dataclass(slots=True)
class Unit:
    """What ends up in the one canonical line. `level` is the line's; times are in seconds.

    `db_queries` and `db_s` are of the statements of the unit's own thread: a commit that a request shares with others
    runs in the batcher's thread, and is no request's alone.
    """

    event: str
    request_id: str
    trace_id: str
    fields: dict[str, Any]
    level: str = "info"
    begun: float = field(default_factory=time.perf_counter)
    db_queries: int = 0
    db_s: float = 0.0

    def fail(self, error: BaseException) -> None:
        """Make it a failure: the line shows the exception's type and the end of its traceback."""
        self.level = "error"
        self.fields |= shown(error)


def shown(error: BaseException) -> dict[str, str]:
    """Return what a line says of an exception."""
    return {
        "exception": type(error).__qualname__,
        "traceback": "".join(traceback.format_exception(error))[-TRACEBACK_MAX:],
    }


class _Count:
    """How many units this process has open, and how many of them wait for a commit that they share."""

    def __init__(self) -> None:
        self.begin_process()

    def begin_process(self) -> None:
        self._lock = threading.Lock()
        self._open = self._waiting = 0

    def move(self, *, opened: int = 0, waiting: int = 0) -> None:
        with self._lock:
            self._open += opened
            self._waiting += waiting

    @property
    def on_their_way(self) -> int:
        return self._open - self._waiting


_count = _Count()
os.register_at_fork(after_in_child=_count.begin_process)
_current: ContextVar[Unit | None] = ContextVar("unit", default=None)


def current() -> Unit | None:
    """Return the unit that this thread works on."""
    return _current.get()


class entered:  # noqa: N801  (it reads as a function; a generator would cost every request twice as much)
    """Make `unit` the current one: `with entered(unit): …`."""

    __slots__ = ("_token", "_unit")

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def __enter__(self) -> None:
        self._token = _current.set(self._unit)
        _count.move(opened=1)

    def __exit__(self, *_failure: object) -> None:
        _count.move(opened=-1)
        _current.reset(self._token)


def begin_waiting() -> None:
    """Say that this thread waits for a commit that it shares with others; `end_waiting` takes it back."""
    _count.move(waiting=1)


def end_waiting() -> None:
    """Say that this thread works on."""
    _count.move(waiting=-1)


def on_their_way() -> int:
    """Return how many units of this process are at work and may yet join a commit."""
    return _count.on_their_way
