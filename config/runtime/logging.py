"""The log: one canonical line for each unit of work, and the rest in the same form (`config.runtime.lines`)."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from config.runtime import database, lines, units
from config.runtime.ids import uuid7
from config.runtime.units import Unit

# What these say of a unit, its own line says too, without the path or the arguments: only their exceptions are kept.
_FOLDED = {"django.request", "dramatiq.worker.WorkerThread"}


def configure(config: Mapping[str, Any]) -> None:
    """Set up both logging systems; Django calls this with `settings.LOGGING`, whose `level` is the lowest shown."""
    level = lines.LEVELS[config["level"].lower()]
    lines.OUTPUT.level = level
    structlog.configure(
        processors=[lines.compose, lines.render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: lines.OUTPUT,
    )
    root = logging.getLogger()
    root.handlers[:] = [_StandardHandler()]
    # The debug lines of libraries carry arguments and payloads: they stay unsaid.
    root.setLevel(max(level, logging.INFO))
    # They tell every step of a connection, and each failure several times; whoever asked for one hears of it anyway.
    for name in ("pika", "librdkafka"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    for name in ("django", "django.server"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def set_role(role: str) -> None:
    """Say what this process is: one of `config.runtime.metrics.ROLES`."""
    lines.OUTPUT.role = role


def get_logger() -> FilteringBoundLogger:
    """Return the logger: `log.info("event.name", field=value)`."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def annotate(**fields: Any) -> None:
    """Add fields to the canonical line of the current unit of work; outside of one nothing happens."""
    unit = units.current()
    if unit is not None:
        unit.fields.update(fields)


def note_failure(error: BaseException) -> None:
    """Show this exception in the current unit's line, which becomes an error; outside of a unit, write a line."""
    unit = units.current()
    if unit is None:
        get_logger().error("exception", exc_info=error)
    else:
        unit.fail(error)


def request_id() -> str:
    """Return the id of the request that the current unit of work serves, or an empty string."""
    unit = units.current()
    return unit.request_id if unit is not None else ""


class unit_of_work:  # noqa: N801  (it reads as a function; a generator would cost every request twice as much)
    """Run one request, message, job or command, and write its one line at the end, also when it raises."""

    __slots__ = ("_entered", "_unit")

    def __init__(self, event: str, *, request_id: str = "", trace_id: str = "", **fields: Any) -> None:
        self._unit = Unit(event, request_id or uuid7().hex, trace_id, fields)
        self._entered = units.entered(self._unit)

    def __enter__(self) -> Unit:
        database.watch()
        self._entered.__enter__()
        return self._unit

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        unit = self._unit
        if error is not None:
            unit.fail(error)
        if lines.OUTPUT.shows(unit.level):
            unit.fields["duration_ms"] = round((time.perf_counter() - unit.begun) * 1000, 3)
            unit.fields["db_queries"] = unit.db_queries
            unit.fields["db_ms"] = round(unit.db_s * 1000, 3)
            lines.emit(unit.level, unit.event, unit.fields)
        self._entered.__exit__()


class _StandardHandler(logging.Handler):
    """Renders the records of the standard library's loggers like our own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        error = lines.exception_of(record.exc_info)
        unit = units.current()
        if record.name in _FOLDED and (unit is not None or error is None):
            if unit is not None and error is not None and record.levelno >= logging.ERROR:
                unit.fail(error)
            return
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)  # the arguments do not fit
        lines.emit(record.levelname.lower(), message, {"logger": record.name, "exc_info": error})
