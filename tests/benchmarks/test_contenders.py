"""The benchmark's plain SQL writes with the engine's own statements: it has to give them all of their columns."""

from __future__ import annotations

import re
from typing import Any, Self
from uuid import uuid4

import pytest

from benchmarks.contenders import plain
from benchmarks.contenders.loop import Transfer

WALLETS = [plain.Wallet(number, 1, uuid4(), f"user-{number}") for number in (1, 2)]


class Recorder:
    """Stands for connection and cursor; keeps what was executed."""

    def __init__(self) -> None:
        self.executed: list[tuple[str, Any]] = []

    def execute(self, statement: str, parameters: Any = None) -> Recorder:
        self.executed.append((statement, parameters))
        return self

    def cursor(self) -> Recorder:
        return self

    transaction = pipeline = cursor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Any:
        return iter([(wallet.id, 0, 0) for wallet in WALLETS])


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    recorder, ours = Recorder(), plain.Plain.__new__(plain.Plain)
    monkeypatch.setattr(ours, "_connection", recorder, raising=False)
    monkeypatch.setattr(ours, "_wallets", WALLETS, raising=False)
    monkeypatch.setattr(ours, "_event", "{}", raising=False)
    ours.post(ours.prepare([Transfer(0, 1, 100)]))
    return recorder.executed


def test_every_statement_is_given_the_columns_that_it_names(executed: list[tuple[str, Any]]) -> None:
    wanted = {statement: set(re.findall(r"%\((\w+)\)s", statement)) for statement, _ in executed}
    given = {statement: set(parameters) for statement, parameters in executed if isinstance(parameters, dict)}
    assert {plain.TRANSACTIONS, plain.JOURNALS, plain.HISTORY, plain.OUTBOX, plain.KNOWN_KEYS} == given.keys()
    assert {statement: names for statement, names in wanted.items() if names} == given
