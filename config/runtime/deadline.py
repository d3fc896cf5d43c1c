"""An end for database transactions: what has not committed in time is cancelled at the server and rolls back.

The server's own timeouts bound single statements; a transaction of many would have many times as long.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connections

from config.runtime.logging import get_logger

CANCEL_WITHIN_S = 5.0
# A cancellation that falls between two statements hits none: the next one is cancelled too.
CANCEL_EVERY_S = 0.1

log = get_logger()


class Overdue(Exception):
    """The database transaction took longer than it may; it rolls back."""


class _Deadline:
    """When the work on one connection must be done."""

    def __init__(self, connection: psycopg.Connection[Any], seconds: float) -> None:
        self.connection = connection
        self.due = time.monotonic() + seconds
        self.is_over = False
        self.is_cancelling = False


class _Watch:
    """One thread that cancels what is overdue; it sleeps while nothing is."""

    _thread: threading.Thread | None

    def __init__(self) -> None:
        self._begin_process()
        os.register_at_fork(after_in_child=self._begin_process)

    def begin(self, deadline: _Deadline) -> None:
        with self._wake:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            self._deadlines.append(deadline)
            # It wakes too early, when what it sleeps for has ended, rather than being woken for each that begins.
            if deadline.due < self._wakes_at:
                self._wake.notify_all()

    def end(self, deadline: _Deadline) -> None:
        """Stop watching. A cancellation that is under way ends first: it must not hit the connection's next user."""
        with self._wake:
            while deadline.is_cancelling:
                self._wake.wait()
            self._deadlines.remove(deadline)

    def _begin_process(self) -> None:
        self._wake = threading.Condition()
        self._deadlines: list[_Deadline] = []
        self._wakes_at = float("inf")
        self._thread = None

    def _run(self) -> None:
        while True:
            deadline = self._next_overdue()
            try:
                deadline.connection.cancel_safe(timeout=CANCEL_WITHIN_S)
            except (psycopg.Error, OSError) as error:
                log.warning("deadline.cancel_failed", error=str(error))
            with self._wake:
                deadline.is_cancelling = False
                deadline.due = time.monotonic() + CANCEL_EVERY_S
                self._deadlines.append(deadline)
                self._wake.notify_all()

    def _next_overdue(self) -> _Deadline:
        with self._wake:
            while True:
                first = min(self._deadlines, key=lambda deadline: deadline.due, default=None)
                left_s = None if first is None else first.due - time.monotonic()
                if first is not None and left_s is not None and left_s <= 0:
                    self._deadlines.remove(first)
                    first.is_over = first.is_cancelling = True
                    return first
                self._wakes_at = float("inf") if first is None else first.due
                self._wake.wait(left_s)


_watch = _Watch()


@contextmanager
def ended_within(seconds: float, using: str = "default") -> Iterator[None]:
    """Bound the database work of this block. Open it inside `atomic`.

    Raises:
        Overdue: the time was over before the block's end; what ran at the server was cancelled.
    """
    deadline = _Deadline(connections[using].connection, seconds)
    _watch.begin(deadline)
    try:
        yield
    except Exception as error:
        if deadline.is_over:
            raise Overdue(f"Not done within {seconds:g} s.") from error
        raise
    finally:
        _watch.end(deadline)
    if deadline.is_over:
        raise Overdue(f"Not done within {seconds:g} s.")
