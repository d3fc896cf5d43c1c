"""How a log line is made and written: JSON, one object a line, without secrets.

Web, worker and schedule write to standard output. A command's standard output is its answer, so it logs to standard
error. A line that the output does not take is counted and dropped: work never fails because of its log.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any

import msgspec
from django.conf import settings

from config.runtime import clock, metrics, units
from config.runtime.redaction import redact_fields, redact_text

PATIENCE_S = 0.1
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class Output:
    """Writes whole lines to a descriptor. `level` is the lowest that is shown.

    One thread writes and one waits for its turn; whoever comes meanwhile leaves its lines to the one that waits.
    """

    def __init__(self) -> None:
        self.role = "command"
        self.level = LEVELS["info"]
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        # Re-entrant: a signal's handler may write a line while its thread is writing one.
        self._writing, self._next = threading.RLock(), threading.Lock()
        self._left: deque[bytes] = deque()
        self._patience_s = PATIENCE_S
        self._torn = False

    def shows(self, level: str) -> bool:
        """Tell whether lines of this level are written."""
        return LEVELS[level] >= self.level

    def write(self, lines: bytes) -> None:
        """Write complete lines, or count them as dropped: all that is left once nobody has read for 100 ms.

        From then on no line waits, until one is taken. A line that broke off is ended before the next.
        """
        self._left.append(lines)
        if not self._next.acquire(blocking=False):
            return  # whoever has it has not yet begun to take
        with self._writing:
            self._next.release()
            if taken := self._taken():
                self._write_whole(taken)

    def _taken(self) -> bytes:
        taken = []
        with suppress(IndexError):  # asked for its length first, the handler of a signal could come in between
            while True:
                taken.append(self._left.popleft())
        return b"".join(taken)

    def _write_whole(self, lines: bytes) -> None:
        descriptor = 2 if self.role == "command" else 1
        rest = memoryview(b"\n" + lines if self._torn else lines)
        try:
            while rest:
                _await_room(descriptor, self._patience_s)
                written = os.write(descriptor, _piece(rest))
                self._torn = bytes(rest[written - 1 : written]) != b"\n"
                self._patience_s = PATIENCE_S
                rest = rest[written:]
        except OSError:
            self._patience_s = 0
            metrics.LOG_LINES_DROPPED.inc(min(lines.count(b"\n"), bytes(rest).count(b"\n")))

    debug = info = warning = error = critical = write  # the names that structlog calls


def _await_room(descriptor: int, patience_s: float) -> None:
    if not select.select((), (descriptor,), (), patience_s)[1]:
        raise TimeoutError


def _piece(rest: memoryview) -> memoryview:
    """Return as many whole lines, or as much of a long one, as a pipe with room takes without blocking."""
    whole_lines = bytes(rest[: select.PIPE_BUF]).rfind(b"\n") + 1
    return rest[: whole_lines or select.PIPE_BUF]


OUTPUT = Output()


def emit(level: str, event: str, fields: Mapping[str, Any]) -> None:
    """Write one line, whether or not its level is shown."""
    OUTPUT.write(render(None, level, compose(None, level, {"event": event, **fields})))


def base_fields(level: str, event: str) -> dict[str, Any]:
    """Return what every line begins with."""
    unit = units.current()
    return {
        "timestamp": clock.rfc3339(clock.now()),
        "level": level,
        "event": event,
        "release": settings.RELEASE,
        "role": OUTPUT.role,
        "pid": os.getpid(),
        "request_id": unit.request_id if unit is not None else "",
        "trace_id": unit.trace_id if unit is not None else "",
    }


def compose(_logger: Any, level: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Return a line's fields in their order; `exc_info` becomes the exception's type and traceback."""
    line = base_fields(level, str(event.pop("event", "")))
    error = exception_of(event.pop("exc_info", None))
    line |= redact_fields(event)
    if error is not None:
        line |= units.shown(error)
    return line


def render(_logger: Any, _level: str, line: Mapping[str, Any]) -> bytes:
    """Return the line as it is written."""
    return redact_text(encode(line)) + b"\n"


def encode(fields: Mapping[str, Any]) -> bytes:
    """Return JSON whatever the values are: a log line is not the place to fail."""
    try:
        return msgspec.json.encode(fields, enc_hook=repr)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # Lone surrogates, numbers beyond 64 bits, keys that are no strings, cycles.
        plain = {str(name): value if isinstance(value, (str, int)) else repr(value) for name, value in fields.items()}
        return json.dumps(plain).encode()


def exception_of(exc_info: Any) -> BaseException | None:
    """Return the exception that logging's `exc_info` means: an exception, its triple, or a true value for "now"."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1]  # type: ignore[no-any-return]  # logging's (type, value, traceback)
    return sys.exc_info()[1] if exc_info else None
