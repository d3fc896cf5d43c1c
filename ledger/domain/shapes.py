"""What an answer and an event show of an object: one shape, rendered once, for both."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID

from msgspec import Struct

from config.runtime.clock import MomentText

# How what is asked becomes final: booked at once, or held until it is captured.
AUTOMATIC, MANUAL = "automatic", "manual"


class AccountName(Struct, frozen=True):
    """Which account: its id and its path."""

    id: UUID
    path: str


class _Named(Protocol):
    """An account: as it is stored, or as it is remembered."""

    @property
    def public_id(self) -> UUID: ...
    @property
    def path(self) -> str: ...


def account_name(account: _Named) -> AccountName:
    """Return which account it is, as every shape says it."""
    return AccountName(account.public_id, account.path)


class FailureShape(Struct, frozen=True):
    """Why a transaction failed, and whether it may be retried.

    `pointer` is the account that it is about, such as `/legs/3/account`, where it was asked for by its legs.
    """

    code: str
    detail: str
    retryable: bool = False
    pointer: str | None = None


class LegShape(Struct, frozen=True, kw_only=True):
    """So much of one account, on one side of a booking."""

    account: AccountName
    side: str
    amount: str
    currency: str


class TransactionShape(Struct, frozen=True, kw_only=True):
    """A transaction; amounts are decimal texts in major units, times RFC 3339 in UTC.

    One that was asked for by its legs has these instead of two accounts; its amount is the sum of its debits in the
    currency of the first. So has what takes back a transaction with legs, a fee or two currencies; its amount is as
    much of the original's as is taken back. `fee` is what the debit account pays on top. In an exchange the credit
    account gets `credit_amount` at `rate`, which is major units of its currency for one of the other, and `rounding` is
    by how much more that is than the rate gives.

    `version` counts the moves of its status and of its sums. `captured` is what of a hold has been booked (null where
    nothing is held first), `reversed` what has been taken back by the transactions that name it in `reverses`.
    """

    id: UUID
    receipt_code: str
    type: str
    status: str
    amount: str
    currency: str
    debit_account: AccountName | None
    credit_account: AccountName | None
    legs: list[LegShape] | None
    fee: str | None
    credit_amount: str | None
    credit_currency: str | None
    rate: str | None
    rate_source: str | None
    rounding: str | None
    user_id: str | None
    peer_user_id: str | None
    reference: str | None
    description: str | None
    error: FailureShape | None
    metadata: dict[str, Any]
    effective_at: MomentText
    execute_at: MomentText | None
    capture: str
    expires_at: MomentText | None
    captured: str | None
    reversed: str
    reverses: UUID | None
    batch_id: UUID | None
    version: int
    created_at: MomentText
    completed_at: MomentText | None


class AcceptedShape(TransactionShape, frozen=True, kw_only=True):
    """A transaction that was accepted and is booked soon; the time is that of accepting it."""

    processing_time_ms: float


class SyncShape(Struct, frozen=True, kw_only=True):
    """Transactions that have come since a cursor and those that have changed since, each once and as it is now.

    One stands in both answers when it came with the first and changed before the second. `has_more` tells whether to go
    on at once; `next_cursor` is always there, to go on with later.
    """

    added: list[TransactionShape]
    modified: list[TransactionShape]
    next_cursor: str
    has_more: bool


class LineShape(Struct, frozen=True, kw_only=True):
    """One line of a journal inside an event: `balance_after` is posted, on the account's normal side."""

    account: AccountName
    side: str
    amount: str
    layer: str
    account_version: int
    balance_after: str


class TransactionEventShape(TransactionShape, frozen=True, kw_only=True):
    """The data of a transaction's event: the transaction at that commit, and the lines it booked."""

    entries: list[LineShape]


class EntryShape(LineShape, frozen=True, kw_only=True):
    """One line of an account's book."""

    journal_id: UUID
    transaction_id: UUID
    receipt_code: str
    currency: str
    posted_at: MomentText
    effective_at: MomentText


class MoveShape(Struct, frozen=True, kw_only=True):
    """One step of a transaction's history; `amount` is what moved with it."""

    status: str
    amount: str
    actor: str
    reason: str
    request_id: str
    at: MomentText


class HistoryShape(Struct, frozen=True):
    """The history of a transaction, oldest step first; a list as every other, always on one page."""

    data: list[MoveShape]
    next_cursor: None = None
    prev_cursor: None = None


class BalanceShape(Struct, frozen=True, kw_only=True):
    """An account's balance on its normal side: booked, held by open holds, and what is left to spend."""

    posted: str
    held: str
    available: str


class AccountShape(Struct, frozen=True, kw_only=True):
    """An account with its balance."""

    id: UUID
    path: str
    currency: str
    kind: str
    user_id: str | None
    status: str
    frozen: str
    floor: str | None
    ceiling: str | None
    balance: BalanceShape
    metadata: dict[str, Any]
    created_at: MomentText


class BalanceAtShape(BalanceShape, frozen=True, kw_only=True):
    """A balance as it was booked at a moment, `version` counts the entries until then.

    With `effective_at` only those of them that took effect by that moment are in it. `held` is what open holds could
    still take from the account: open is a hold from when it was booked (or took effect) until its capture, void or
    expiry was (or did), which takes effect when it is booked, but not before the hold.
    """

    account: AccountName
    currency: str
    at: MomentText
    effective_at: MomentText | None
    version: int


class ChangeShape(Struct, frozen=True):
    """What a field of an account was, and what it became."""

    before: str | None
    after: str | None


class AccountChangeShape(Struct, frozen=True, kw_only=True):
    """A change of an account: which of `status`, `frozen`, `floor` and `ceiling` moved, by whom and why."""

    type: str
    changes: dict[str, ChangeShape]
    actor: str
    reason: str
    request_id: str
    at: MomentText


class KindTotalsShape(Struct, frozen=True, kw_only=True):
    """The accounts of one kind: the sum of the balances that are debits, and of those that are credits."""

    kind: str
    debit: str
    credit: str


class CurrencyTotalsShape(Struct, frozen=True, kw_only=True):
    """The accounts of one currency, by kind and in all; `balanced` when debits and credits are equal."""

    currency: str
    kinds: list[KindTotalsShape]
    debit: str
    credit: str
    balanced: bool


class TrialBalanceShape(Struct, frozen=True, kw_only=True):
    """What all accounts of a client stood at, as booked at a moment."""

    at: MomentText
    currencies: list[CurrencyTotalsShape]
