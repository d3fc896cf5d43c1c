"""The books of one client in plain Python: accounts, transactions, keys, and the time, which passes when it is told to.

Nothing here is of the real ledger's code. Time is counted in whole hours.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from tests.ledger.model.agreements import Agreed, Legs
from tests.ledger.model.asks import Answer, Ask
from tests.ledger.model.boxes import Box, Line, Shown, in_order

PASSING = {"contention"}
# The third try in vain is the last until somebody asks for another; the fifth is the last of all.
ENOUGH, TOO_MANY = 3, 5

# An hour, and a place among what is due in that hour.
Moment = tuple[int, int]
NEVER: Moment = (10**9, 0)


@dataclass
class Transaction:
    """What was asked and agreed, and what became of it: every status with the amount that moved with it.

    `effective` is the hour in which it takes effect, `ends` the one from which on it is held no more; both are None for
    what says nothing about that. `due` is when it is to be booked, if it waits.
    """

    ask: Ask
    agreed: Agreed
    effective: int
    ends: int | None = None
    due: Moment = NEVER
    history: list[tuple[str, int]] = field(default_factory=list)
    error: str | None = None
    attempts: int = 0
    moves: int = 0
    booked: int = 0
    reversed: int = 0

    @property
    def status(self) -> str:
        return self.history[-1][0]

    @property
    def held(self) -> int:
        return self.agreed.amount - self.booked if self.status == "pending" else 0

    @property
    def may_be_retried(self) -> bool:
        return self.error in PASSING and self.attempts < TOO_MANY

    def move(self, status: str, amount: int, *, error: str | None = None, due: Moment = NEVER) -> None:
        self.history.append((status, amount))
        self.moves += 1
        self.error, self.due = error, due

    def answer(self, *, replayed: bool = False) -> Answer:
        return Answer(self.error or self.status, self.ask.label, replayed, self.may_be_retried)


@dataclass
class Books:
    """Accounts by path, transactions by label in the order they came, and what keys were used for.

    `marks` are moments to come back to: how many lines each account had then.
    """

    boxes: dict[str, Box] = field(default_factory=lambda: {"cash:USD": Box("asset")})
    transactions: dict[str, Transaction] = field(default_factory=dict)
    keys: dict[str, tuple[Any, str]] = field(default_factory=dict)
    marks: list[dict[str, int]] = field(default_factory=list)
    hour: int = 0
    places: int = 0

    def open(self, path: str, box: Box) -> None:
        self.boxes[path] = deepcopy(box)
        self.boxes[path].born = len(self.marks)

    def hours_pass(self, hours: int) -> None:
        self.hour += hours

    def mark(self) -> None:
        self.marks.append({path: len(box.lines) for path, box in self.boxes.items()})

    def sums(self) -> dict[str, tuple[Any, ...]]:
        """Return what stands on each account: posted and held debits and credits, the count of lines, its state."""
        return {path: (*_sums(box), len(box.lines), *_state(box)) for path, box in self.boxes.items()}

    def moved(self) -> dict[str, tuple[Any, ...]]:
        """Return where each transaction stands."""
        return {
            label: (one.history, one.error, one.attempts, one.moves, one.booked, one.reversed)
            for label, one in self.transactions.items()
        }

    def lines(self) -> dict[str, list[Shown]]:
        """Return the lines of each account, in their order: of which transaction and journal, layer, amount."""
        return {path: in_order(line[:4] for line in box.lines) for path, box in self.boxes.items()}

    def terms(self) -> dict[str, tuple[Any, ...]]:
        """Return what is shown of the terms and sums of each transaction."""
        return {label: _terms(one) for label, one in self.transactions.items()}

    def _known(self, key: str | None, body: Any) -> Answer | None:
        """Return the answer to a key that is taken."""
        if key is None or key not in self.keys:
            return None
        used_for, label = self.keys[key]
        return self._replay(label) if used_for == body else Answer("idempotency_key_reused")

    def _replay(self, label: str) -> Answer:
        return self.transactions[label].answer(replayed=True)

    def _keep(self, key: str | None, body: Any, label: str) -> None:
        if key is not None:
            self.keys[key] = body, label

    def _moment(self, hours: int = 0) -> Moment:
        """Return a moment in so many hours, behind everything that was told one of the same hour."""
        self.places += 1
        return self.hour + hours, self.places

    def _write(self, label: str, journal: str, layer: str, legs: Legs, effective: int) -> None:
        for path, amount in legs:
            self.boxes[path].lines.append(Line(label, journal, layer, amount, effective))


def _sums(box: Box) -> list[int]:
    return [box.total(layer, side) for layer in ("posted", "held") for side in ("debit", "credit")]


def _state(box: Box) -> tuple[Any, ...]:
    frozen = "both" if len(box.frozen) > 1 else next(iter(box.frozen), "none")
    return "closed" if box.is_closed else "active", frozen, box.floor, box.ceiling


def _terms(one: Transaction) -> tuple[Any, ...]:
    agreed = one.agreed
    captured = one.booked if one.ask.is_held else None
    return agreed.amount, agreed.fee or None, agreed.credited, agreed.rounding, captured, one.ask.takes_back
