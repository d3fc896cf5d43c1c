"""One account in plain Python."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

DEBIT_NORMAL = {"asset", "expense"}
SIDES = {"debits": {"debits"}, "credits": {"credits"}, "both": {"debits", "credits"}}


class Line(NamedTuple):
    """What one booking did to it, debits positive: of which transaction, and in which hour it took effect."""

    label: str
    journal: str
    layer: str
    amount: int
    effective: int


Shown = tuple[str, str, str, int]


def in_order(lines: Iterable[Shown]) -> list[Shown]:
    """Return lines in their order, but those of holds that expire together: which of them is first nobody promises."""
    runs = groupby(lines, key=lambda line: line[1] == "expire")
    return [line for expired, run in runs for line in (sorted(run) if expired else run)]


@dataclass
class Box:
    """What went in on each side, what is held there, and what it refuses.

    `born` counts the moments that were marked before it was opened. What changes it answers "changed", or why not.
    """

    kind: str
    currency: str = "USD"
    floor: int | None = None
    ceiling: int | None = None
    frozen: set[str] = field(default_factory=set)
    is_closed: bool = False
    lines: list[Line] = field(default_factory=list)
    born: int = 0

    @property
    def sign(self) -> int:
        return 1 if self.kind in DEBIT_NORMAL else -1

    def total(self, layer: str, side: str) -> int:
        """Return what was booked on a side, or what is still held there: a line that lets go is on the other side."""
        amounts = [line.amount for line in self.lines if line.layer == layer]
        if layer == "posted":
            return sum(abs(amount) for amount in amounts if (amount > 0) == (side == "debit"))
        ends = {"capture", "void", "expire"}
        held = [(line.amount, line.journal in ends) for line in self.lines if line.layer == "held"]
        here = [amount for amount, is_end in held if ((amount > 0) != is_end) == (side == "debit")]
        return abs(sum(here))

    @property
    def balance(self) -> int:
        return self.sign * sum(line.amount for line in self.lines if line.layer == "posted")

    @property
    def leaving(self) -> int:
        """What is held and may still leave it."""
        return self.total("held", "credit" if self.sign > 0 else "debit")

    @property
    def coming(self) -> int:
        """What is held elsewhere and may still come."""
        return self.total("held", "debit" if self.sign > 0 else "credit")

    def refuses(self, amount: int) -> str | None:
        """Return why it takes nothing at all on this side, debits positive."""
        if self.is_closed:
            return "account_closed"
        return "account_frozen" if ("debits" if amount > 0 else "credits") in self.frozen else None

    def objection(self, amount: int) -> str | None:
        """Return why so much cannot be booked or held here, debits positive."""
        change = self.sign * amount
        if self.refuses(amount):
            return self.refuses(amount)
        if change > 0 and self.ceiling is not None and self.balance + self.coming + change > self.ceiling:
            return "ceiling_exceeded"
        if change < 0 and self.floor is not None and self.balance - self.leaving + change < self.floor:
            return "insufficient_funds"
        return None

    def freeze(self, sides: str) -> str:
        if self.is_closed or SIDES[sides] <= self.frozen:
            return "account_closed" if self.is_closed else "account_already_frozen"
        self.frozen |= SIDES[sides]
        return "changed"

    def unfreeze(self, sides: str) -> str:
        if self.is_closed or not SIDES[sides] & self.frozen:
            return "account_closed" if self.is_closed else "account_not_frozen"
        self.frozen -= SIDES[sides]
        return "changed"

    def close(self) -> str:
        if self.is_closed:
            return "account_already_closed"
        if self.balance:
            return "account_not_empty"
        if self.leaving or self.coming:
            return "account_has_holds"
        self.is_closed = True
        return "changed"

    def reopen(self) -> str:
        if not self.is_closed:
            return "account_already_open"
        self.is_closed = False
        return "changed"

    def limit(self, limits: dict[str, int | None]) -> str:
        """Take other limits; one that is not named stays."""
        if not limits:
            return "limits_missing"
        if self.is_closed:
            return "account_closed"
        floor, ceiling = limits.get("floor", self.floor), limits.get("ceiling", self.ceiling)
        if floor is not None and floor > self.balance - self.leaving:
            return "floor_above_available"
        if ceiling is not None and ceiling < self.balance + self.coming:
            return "ceiling_below_balance"
        if (self.floor, self.ceiling) == (floor, ceiling):
            return "limits_unchanged"
        self.floor, self.ceiling = floor, ceiling
        return "changed"
