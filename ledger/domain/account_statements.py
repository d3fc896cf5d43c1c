"""Statements of our accounts: what was booked in a range of time. (`ledger.statements` reads the files of banks.)"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from config.runtime.clock import MomentText
from ledger.domain.shapes import AccountName

# A statement is made in memory, and a line may take some 6 kB of it.
LINES_MAX = 20_000
COUNTERPARTIES_MAX = 10

# Text from the start: a UUID would be made for each of ten thousand lines only to become text again.
UuidText = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]


class StandShape(Struct, frozen=True, kw_only=True):
    """A booked balance on the account's normal side; `version` is that of the account's last line until then."""

    balance: str
    version: int


class TurnoverShape(Struct, frozen=True, kw_only=True):
    """How many lines a side has, and what they add up to."""

    lines: int
    amount: str


class AccountStatementLineShape(Struct, frozen=True, kw_only=True, gc=False):
    """One booked line; `journal_id` and `line` name it.

    `counterparties` are the accounts on the other side: one, or of a booking by legs those of the same currency, the
    first ten of them; the transaction has all.
    """

    account_version: int
    journal_id: UuidText
    line: int
    journal_kind: str
    posted_at: MomentText
    effective_at: MomentText
    transaction_id: UuidText
    receipt_code: str
    type: str
    reference: str | None
    description: str | None
    counterparties: tuple[AccountName, ...]
    side: str
    amount: str
    balance_after: str


class AccountStatementShape(Struct, frozen=True, kw_only=True):
    """What was booked on an account from `from` on and before `to`, in the order of booking.

    What is only held is no booking, so that versions may be missing between the lines. The opening balance plus the
    lines on the account's normal side (debits of assets and expenses, credits of the others), less those on the other,
    is the closing balance. Before `to` nothing can be booked any more: asked for again, the statement is the same.
    """

    account: AccountName
    kind: str
    currency: str
    since: MomentText = field(name="from")
    until: MomentText = field(name="to")
    opening: StandShape
    closing: StandShape
    debits: TurnoverShape
    credits: TurnoverShape
    lines: list[AccountStatementLineShape]
