"""What is asked of the reference and of the real ledger, and what both answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

DECIMALS = {"USD": 2, "JPY": 0}


@dataclass(frozen=True)
class Ask:
    """One transfer: accounts by path, the amount in minor units, in how many hours it is to be booked.

    `label` is the name by which answers tell which one they are about; no two have the same.
    """

    label: str
    debit: str
    credit: str
    amount: int
    key: str | None = None
    group: str | None = None
    hours: int = 0

    @property
    def body(self) -> tuple[Any, ...]:
        """What must be equal for the key to replay."""
        return "transfer", self.debit, self.credit, self.amount, self.hours

    @property
    def accounts(self) -> set[str]:
        return {self.debit, self.credit}


class Answer(NamedTuple):
    """A status or an error code; `label` says of which transfer or batch, None when nothing is stored."""

    code: str
    label: str | None = None
    replayed: bool = False
    retryable: bool = False


class Tried(NamedTuple):
    """What a batch would come to: the answer of every item, or the place and code of those that refuse it."""

    status: str
    items: list[Any]


def amount_text(minor: int, currency: str) -> str:
    """Return minor units as an API writes them."""
    whole, rest = divmod(abs(minor), 10 ** DECIMALS[currency])
    return f"{'-' * (minor < 0)}{whole}" + (f".{rest:0{DECIMALS[currency]}}" if DECIMALS[currency] else "")
