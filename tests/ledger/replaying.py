"""Handlers of dead letters, as config/subscriptions.py would name them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from ledger.events.models import DeadLetter
from ledger.events.replay import commits_itself

# What the handlers do, given the letter; a test says it.
WORK: list[Callable[[DeadLetter], Any]] = []
HANDLED: Counter[Any] = Counter()


def inside(letter: DeadLetter) -> None:
    assert connection.in_atomic_block
    _handle(letter)


@commits_itself
def outside(letter: DeadLetter) -> None:
    assert not connection.in_atomic_block
    _handle(letter)


def _handle(letter: DeadLetter) -> None:
    for work in WORK:
        work(letter)
    HANDLED[letter.pk] += 1


@pytest.fixture
def handlers(settings: Any) -> Iterator[list[Callable[[DeadLetter], Any]]]:
    """Two handlers that take everything, until the test appends what they are to do."""
    settings.REPLAY_HANDLERS = {"listener": f"{__name__}.inside", "inbound": f"{__name__}.outside"}
    HANDLED.clear()
    yield WORK
    WORK.clear()
