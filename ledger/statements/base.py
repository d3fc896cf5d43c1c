"""What a bank's statement file is, and what one of its lines says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from ledger.statements.mapping import StatementMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One line, understood: `amount_minor` is above zero when the balance rises, in the statement's currency.

    `id` and `account` are the bank's own numbers; `balance_minor` is what the bank printed after the line; `type` is
    one of KINDS; `content_hash` tells the same line from another one with the same id. What the mapping has no column
    for is None.
    """

    number: int
    on: date
    amount_minor: int
    content_hash: bytes
    id: str | None = None
    account: str | None = None
    balance_minor: int | None = None
    type: str | None = None
    reference: str | None = None
    description: str | None = None
    counterparty: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MalformedLine:
    """A line that is not what the mapping says; `number` counts the file's lines from 1, the header included."""

    number: int
    reason: str


class LineMalformed(ValueError):
    """The line is not what the mapping says; says why."""


@dataclass(frozen=True, slots=True)
class Bank:
    """A mapping and its name, which is also that of the bank."""

    name: str
    mapping: StatementMapping

    def account_path(self, account: str) -> str:
        """Return the path of our account that stands for an account at the bank.

        Of customers' accounts it should name the bank: the numbers of two banks of one client may be the same, and a
        path never changes.
        """
        mapping = self.mapping
        assert mapping.account_path is not None, "what names no account by its lines is reconciled with a named one"
        return mapping.account_path.replace("{account}", account).replace("{currency}", mapping.currency or "")

    def customer_id(self, account: str) -> str:
        """Return the user id of the customer who has this account at the bank."""
        return f"{self.name}:{account}"

    def idempotency_key(self, line_id: str) -> str:
        """Return the key that the bank's line of this number is imported with."""
        return f"{self.name}:{line_id}"

    def rounding_minor(self, exponent: int) -> int:
        """Return how far a printed balance may stand from the sum of its lines, in minor units."""
        return int(Decimal(self.mapping.rounding).scaleb(exponent))
