"""Whose rows are shown: the one place where who asks becomes a condition on accounts and transactions.

A door that is open to end users reads through a `Reach`. What is not here, no user sees.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

import msgspec
from django.db.models import QuerySet

from config.runtime.errors import NotFound
from ledger.domain.accounts import AccountRef
from ledger.domain.legs import Leg
from ledger.domain.money import format_amount
from ledger.domain.shapes import TransactionShape
from ledger.models import Account, Balance, Transaction
from ledger.queries.accounts import accounts_by_id, accounts_of, find_account, get_account
from ledger.queries.transactions import get_transaction, shown, shown_all, transactions_for
from ledger.status import StatusShape, look_up, status_of


@dataclass(frozen=True, slots=True)
class Reach:
    """All that a client has, or of that what is a user's: accounts that bear the user's id, and what moved on them.

    Of a transaction with others a user sees the own side. The fee, and why it failed, are shown to whose account is
    debited; of its legs those on the user's accounts are shown, and then the amount is what these come to.
    """

    client_id: int
    user_id: str | None = None

    def accounts(self, *, path: str | None = None, user_id: str | None = None) -> QuerySet[Account]:
        """Return the accounts, or those of them with a path or a user, with what their shape needs."""
        rows = accounts_of(self.client_id, path=path, user_id=user_id)
        return rows if self.user_id is None else rows.filter(user_id=self.user_id)

    def account(self, public_id: UUID) -> Balance:
        """Return an account as its balance row, with the account at hand.

        Raises:
            NotFound: there is none such within reach.
        """
        row = get_account(self.client_id, public_id)
        if self.user_id not in (None, row.account.user_id):
            raise NotFound
        return row

    def transactions(self, *, user_id: str | None = None, is_weighed: bool = False) -> list[QuerySet[Transaction]]:
        """Return the transactions, or those of them that concern a user, in parts that each have an index.

        Where they are looked through by their amounts, a user does not get those of which only a part is shown: the
        answers would tell the whole.
        """
        if self.user_id is None:
            return transactions_for(self.client_id, user_id)
        rows = transactions_for(self.client_id, self.user_id) if user_id in (None, self.user_id) else []
        return [part.filter(debit_account__isnull=False) for part in rows] if is_weighed else rows

    def transaction(self, transaction_id: UUID) -> TransactionShape:
        """Return a transaction as it is now; no status shows less of it afterwards.

        Raises:
            NotFound: there is none such within reach.
        """
        since = time.monotonic()
        row = get_transaction(self.client_id, transaction_id)
        if not self._concerns(row):
            raise NotFound
        return self._seen(row, shown(row, since=since))

    def shown(self, rows: Iterable[Transaction], *, since: float) -> list[TransactionShape]:
        """Return transactions that `transactions` found, as `shown_all` does."""
        found = list(filter(self._concerns, rows))
        return [self._seen(row, shape) for row, shape in zip(found, shown_all(found, since=since), strict=True)]

    def status(self, transaction_id: UUID) -> StatusShape:
        """Return where a transaction stands, or stood at most a second ago. Call outside of database transactions.

        Raises:
            NotFound: there is none such within reach.
        """
        if self.user_id is None:
            return look_up(self.client_id, transaction_id)
        return status_of(self.transaction(transaction_id))  # what is remembered of statuses does not say whose they are

    def account_named(self, name: str) -> AccountRef | None:
        """Return the account with this id or path, if there is one within reach."""
        account = find_account(self.client_id, name)
        return account if account is None or self.user_id in (None, account.user_id) else None

    def _concerns(self, row: Transaction) -> bool:
        """Whether the user's account is one of the two, or has a leg: to get the fee of others is not enough."""
        if self.user_id is None:
            return True
        debit, credit = row.debit_account, row.credit_account
        if debit is None or credit is None:
            return self.user_id in (row.user_id, row.peer_user_id)
        return self.user_id in (debit.user_id, credit.user_id)

    def _seen(self, row: Transaction, shape: TransactionShape) -> TransactionShape:
        if self.user_id is None:
            return shape
        legs = row.legs.found(accounts_by_id(row.legs.account_ids))
        own = [leg for leg in legs if leg.account.user_id == self.user_id]
        if not any(leg.amount_minor > 0 for leg in own):
            shape = msgspec.structs.replace(shape, error=None, fee=None)
        return shape if shape.legs is None else _own_side(shape, own)


def _own_side(shape: TransactionShape, own: list[Leg]) -> TransactionShape:
    """Cut a transaction with legs down to some of them; such a one is captured and taken back as a whole or not."""
    assert shape.legs is not None
    first = next((leg for leg in own if leg.amount_minor > 0), own[0]).account
    is_debited = any(leg.amount_minor > 0 for leg in own)
    minor = sum(
        abs(leg.amount_minor)
        for leg in own
        if leg.account.currency == first.currency and (leg.amount_minor > 0) == is_debited
    )
    amount = format_amount(minor, exponent=first.exponent)
    nothing = format_amount(0, exponent=first.exponent)
    ids = {leg.account.public_id for leg in own}

    def part(whole: str) -> str:
        return amount if whole == shape.amount else nothing

    return msgspec.structs.replace(
        shape,
        legs=[leg for leg in shape.legs if leg.account.id in ids],
        amount=amount,
        currency=first.currency,
        captured=None if shape.captured is None else part(shape.captured),
        reversed=part(shape.reversed),
    )
