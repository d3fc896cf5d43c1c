"""Reads of transactions: shapes, lists, history, receipts, entries."""

from __future__ import annotations

import time
from collections.abc import Iterable
from uuid import UUID

from django.db.models import Case, OuterRef, Q, QuerySet, Subquery, When

from config.runtime.clock import rfc3339
from config.runtime.errors import NotFound
from ledger.domain.accounts import AccountKind, AccountRef
from ledger.domain.balances import Side
from ledger.domain.legs import shown_terms
from ledger.domain.money import format_amount
from ledger.domain.shapes import AUTOMATIC, MANUAL, EntryShape, FailureShape, MoveShape, TransactionShape, account_name
from ledger.domain.states import EXECUTING, Status
from ledger.errors import failure_shape, pointer_in
from ledger.models import Account, Entry, Transaction, TransactionEvent
from ledger.queries.accounts import accounts_by_id, remember_accounts
from ledger.status import saw

# The last step of what has failed is its failure; of one between two accounts it says no more than the row.
_LAST_REASON = TransactionEvent.objects.filter(transaction=OuterRef("pk")).order_by("-id").values("reason")[:1]
_FAILURE_REASON = Case(When(status="failed", terms__by_legs=True, then=Subquery(_LAST_REASON)))


def transactions_of(client_id: int) -> QuerySet[Transaction]:
    """Return a client's transactions with what their shape needs."""
    return _with_all(Transaction.objects.filter(client_id=client_id))


def _with_all(rows: QuerySet[Transaction]) -> QuerySet[Transaction]:
    return rows.select_related("debit_account", "credit_account", "currency").annotate(failure_reason=_FAILURE_REASON)


def transactions_for(client_id: int, user_id: str | None) -> list[QuerySet[Transaction]]:
    """Return a client's transactions, or those that concern a user: as owner and as peer, each with its index."""
    rows = transactions_of(client_id)
    return [rows] if user_id is None else [rows.filter(user_id=user_id), rows.filter(peer_user_id=user_id)]


def touching(rows: QuerySet[Transaction], account: AccountRef | None) -> QuerySet[Transaction]:
    """Return those rows that debit or credit an account; none if there is no such account. No index serves this."""
    if account is None:
        return rows.none()
    in_legs = Q(terms__contains={"legs": [[account.id]]})
    return rows.filter(Q(debit_account_id=account.id) | Q(credit_account_id=account.id) | in_legs)


def get_transaction(client_id: int, transaction_id: UUID) -> Transaction:
    """Return one of a client's transactions.

    Raises:
        NotFound: the client has no such transaction.
    """
    row = transactions_of(client_id).filter(pk=transaction_id).first()
    if row is None:
        raise NotFound
    return row


def has_failed(client_id: int, key: str) -> bool:
    """Tell whether a client's transaction with this idempotency key has failed."""
    return Transaction.objects.filter(client_id=client_id, idempotency_key=key, status=Status.FAILED).exists()


def shown_transaction(client_id: int, transaction_id: UUID) -> TransactionShape:
    """Return one of a client's transactions as it is now; no status shows less of it afterwards.

    Raises:
        NotFound: the client has no such transaction.
    """
    since = time.monotonic()
    return shown(get_transaction(client_id, transaction_id), since=since)


def shown_transactions(transaction_ids: Iterable[UUID]) -> dict[UUID, TransactionShape]:
    """Return transactions as they are now, by id; no status shows less of them afterwards."""
    since = time.monotonic()
    rows = _with_all(Transaction.objects.filter(pk__in=list(transaction_ids)))
    return {shape.id: shape for shape in shown_all(rows, since=since)}


def shown_all(rows: Iterable[Transaction], *, since: float) -> list[TransactionShape]:
    """Return stored transactions as their API shows them, as `shown` does; one query for the accounts of all legs."""
    found = list(rows)
    remember_accounts(account_id for row in found if row.terms is not None for account_id in row.legs.account_ids)
    return [shown(row, since=since) for row in found]


def shown(row: Transaction, *, since: float) -> TransactionShape:
    """Return a stored transaction as its API shows it; no status shows less of it afterwards.

    `since` is the `time.monotonic()` of a moment before it was read.
    """
    shape = transaction_shape(row)
    saw(row.client_id, shape, since=since)
    return shape


def transaction_shape(row: Transaction) -> TransactionShape:
    """Return a stored transaction as its API shows it, for what is not shown yet."""
    exponent, debit, credit, legs = row.currency.exponent, row.debit_account, row.credit_account, row.legs
    found = () if legs.terms is None else legs.found(accounts_by_id(legs.account_ids))
    return TransactionShape(
        id=row.pk,
        receipt_code=row.receipt_code,
        type=row.type,
        status=row.status,
        amount=format_amount(row.amount_minor, exponent=exponent),
        currency=row.currency_id,
        debit_account=None if debit is None else account_name(debit),
        credit_account=None if credit is None else account_name(credit),
        **shown_terms(legs.terms, found),
        user_id=row.user_id,
        peer_user_id=row.peer_user_id,
        reference=row.reference,
        description=row.description,
        error=_failure(row),
        metadata=row.metadata,
        effective_at=rfc3339(row.effective_at),
        execute_at=rfc3339(row.execute_at) if row.execute_at else None,
        capture=MANUAL if row.expires_at else AUTOMATIC,
        expires_at=rfc3339(row.expires_at) if row.expires_at else None,
        captured=format_amount(row.booked_minor, exponent=exponent) if row.expires_at else None,
        reversed=format_amount(row.reversed_minor, exponent=exponent),
        reverses=row.reverses_id,
        batch_id=row.batch_id,
        version=row.version,
        created_at=rfc3339(row.created_at),
        completed_at=rfc3339(row.completed_at) if row.completed_at else None,
    )


def _failure(row: Transaction) -> FailureShape | None:
    if row.error_code is None:
        return None
    return failure_shape(row.error_code, row.attempts, pointer_in(getattr(row, "failure_reason", None)))


def history_of(row: Transaction) -> list[MoveShape]:
    """Return the steps of a transaction, oldest first."""
    return moves_of(row, events_of(row).order_by("id"))


def events_of(row: Transaction) -> QuerySet[TransactionEvent]:
    """Return the moves of a transaction as they are stored; `id` orders them."""
    return TransactionEvent.objects.filter(transaction=row)


def moves_of(row: Transaction, events: Iterable[TransactionEvent]) -> list[MoveShape]:
    """Return moves of a transaction as steps of its history; `executing` stands before each outcome."""
    exponent = row.currency.exponent
    moves: list[MoveShape] = []
    for event in events:
        if event.executing_at is not None:
            moves.append(_move(event, EXECUTING, rfc3339(event.executing_at), exponent))
        moves.append(_move(event, event.to_status, rfc3339(event.at), exponent))
    return moves


def reversals_of(row: Transaction) -> QuerySet[Transaction]:
    """Return what takes a transaction back, or failed to; `id` orders them, with an index."""
    return Transaction.objects.filter(reverses=row)


def entries_of(account: Account) -> QuerySet[Entry]:
    """Return the lines of an account with what their shape needs; `account_version` orders them."""
    return Entry.objects.filter(account=account).select_related("journal")


def entry_shape(row: Entry, account: Account) -> EntryShape:
    """Return a line of an account's book as its API shows it."""
    exponent = account.currency.exponent
    sign = AccountKind(account.kind).sign
    return EntryShape(
        account=account_name(account),
        side=(Side.DEBIT if row.amount_minor > 0 else Side.CREDIT).value,
        amount=format_amount(abs(row.amount_minor), exponent=exponent),
        layer=row.layer,
        account_version=row.account_version,
        balance_after=format_amount(sign * row.posted_after, exponent=exponent),
        journal_id=row.journal_id,
        transaction_id=row.journal.transaction_id,
        receipt_code=row.journal.external_ref,
        currency=row.currency_id,
        posted_at=rfc3339(row.posted_at),
        effective_at=rfc3339(row.journal.effective_at),
    )


def _move(event: TransactionEvent, status: str, at: str, exponent: int) -> MoveShape:
    return MoveShape(
        status=status,
        amount=format_amount(event.amount_minor, exponent=exponent),
        actor=event.actor,
        reason=event.reason if status != EXECUTING else "",
        request_id=event.request_id,
        at=at,
    )
