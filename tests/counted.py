"""How much a piece of work asks of the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from config.runtime import database


def statements(work: Callable[[], object]) -> int:
    """How many statements a piece of work sends to the database."""
    return len(sent(work))


def sent(work: Callable[[], object]) -> list[str]:
    """Return the statements of a piece of work, those too that other threads send for it.

    They are not read off the unit of work: a request has one of its own, and its caller's counts nothing of it.
    """
    found, note = list[str](), database._note

    def noted(query: Any, seconds: float) -> None:
        found.append(str(query))
        note(query, seconds)

    database.watch()
    with patch.object(database, "_note", noted):
        work()
    return found
