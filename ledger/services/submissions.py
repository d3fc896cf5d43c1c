"""What doors are asked to book, before its accounts are found."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field

from ledger.domain.shapes import AUTOMATIC


class LegAsked(Struct, frozen=True, kw_only=True):
    """One leg: an account by id or path, `debit` or `credit`, and an amount as text in major units."""

    account: str
    side: str
    amount: str
    currency: str


class Submission(Struct, frozen=True, kw_only=True):
    """A transaction as a door was asked for it: accounts by id or path, amounts as texts in major units.

    It has `legs`, or two accounts, an amount and its currency. `fee` is what the debit account pays on top (None: what
    its type costs). Where the credit account is of another currency, `credit_currency`, `rate` and `rate_source` say
    so; `credit_amount` follows from them. `group` names those of a batch that are booked together or not at all;
    `may_be_old` is what records the past.
    """

    type: str
    debit_account: str | None = None
    credit_account: str | None = None
    amount: str | None = None
    currency: str | None = None
    legs: tuple[LegAsked, ...] = ()
    fee: str | None = None
    credit_amount: str | None = None
    credit_currency: str | None = None
    rate: str | None = None
    rate_source: str | None = None
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    effective_at: datetime | None = None
    may_be_old: bool = False
    execute_at: datetime | None = None
    capture: str = AUTOMATIC
    expires_at: datetime | None = None
    group: str | None = None
    idempotency_key: str | None = None
    request_hash: bytes | None = None

    @property
    def is_exchange(self) -> bool:
        """Whether anything is said of a second currency."""
        return any((self.credit_currency, self.credit_amount, self.rate, self.rate_source))
