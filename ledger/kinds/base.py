"""What a transaction type is."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.domain.accounts import AccountKind


@dataclass(frozen=True, slots=True)
class Counter:
    """The other side of a booking with a customer, opened on first use as `{prefix}:{currency}`."""

    prefix: str
    kind: AccountKind


@dataclass(frozen=True, slots=True)
class TransactionKind:
    """One transaction type.

    `counter` is the account that stands against a customer's when only the customer's is named (bank statements);
    `customer_is_debited` says on which side the customer then stands. One that is not asked for by name has an
    operation of its own. `fee_basis_points` of the amount are what the debit account pays on top, unless the request
    names another fee.
    """

    name: str
    summary: str
    customer_is_debited: bool
    counter: Counter | None = None
    is_asked_by_name: bool = True
    fee_basis_points: int = 0
