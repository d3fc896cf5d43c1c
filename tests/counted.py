"""How much a piece of work asks of the database."""

from __future__ import annotations

from collections.abc import Callable

from config.runtime.database import watch
from config.runtime.units import Unit, entered


def statements(work: Callable[[], object]) -> int:
    """How many statements a piece of work sends to the database."""
    unit = Unit(event="test", request_id="", trace_id="", fields={})
    watch()
    with entered(unit):
        work()
    return unit.db_queries
