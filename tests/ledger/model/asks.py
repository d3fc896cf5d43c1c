"""What is asked of the reference and of the real ledger, and what both answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

DECIMALS = {"USD": 2, "JPY": 0}


@dataclass(frozen=True)
class Ask:
    """One transaction: accounts by path, amounts in minor units, moments in hours from that at which it is `asked`.

    `label` is the name by which answers tell which one they are about; no two have the same. It has two accounts and an
    amount, or `legs`: paths with amounts, debits positive. `rate` makes it an exchange into the currency of the credit
    account. What `is_held` is captured later, until it ends `lasts` hours from now. `back` hours ago it took effect.
    `takes_back` is the label of what it reverses, all that is left of it where the amount is 0.
    """

    label: str
    debit: str = ""
    credit: str = ""
    amount: int = 0
    key: str | None = None
    group: str | None = None
    hours: int = 0
    kind: str = "transfer"
    legs: tuple[tuple[str, int], ...] = ()
    fee: int | None = None
    rate: str | None = None
    credit_amount: int | None = None
    is_held: bool = False
    lasts: int | None = None
    back: int | None = None
    takes_back: str | None = None
    asked: int = 0

    @property
    def body(self) -> Ask:
        """What must be equal for the key to replay."""
        return replace(self, label="", key=None, group=None, asked=0)

    @property
    def named(self) -> list[str]:
        return [path for path, _ in self.legs] or [self.debit, self.credit]


class Answer(NamedTuple):
    """A status or an error code; `label` says of which transaction, batch or account, None when nothing is stored."""

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


def limit_text(limit: int | None, currency: str) -> str | None:
    return None if limit is None else amount_text(limit, currency)
