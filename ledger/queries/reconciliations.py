"""What is shown of reconciliations, and reads of those that were stored."""

from __future__ import annotations

from uuid import UUID

import msgspec
from django.db.models import QuerySet

from config.runtime.clock import rfc3339
from config.runtime.errors import NotFound
from ledger.domain.money import format_amount
from ledger.domain.reconciliations import (
    BankLineShape,
    BookedLineShape,
    BreakShape,
    ClosingShape,
    CountsShape,
    ReconciliationShape,
)
from ledger.domain.shapes import account_name
from ledger.models import Reconciliation, ReconciliationBreak
from ledger.queries.accounts import accounts_by_id
from ledger.queries.comparisons import BookedLine, Closing, Comparison
from ledger.statements import StatementLine


def reconciliations_of(client_id: int) -> QuerySet[Reconciliation]:
    """Return a client's reconciliations."""
    return Reconciliation.objects.filter(client_id=client_id)


def get_reconciliation(client_id: int, reconciliation_id: UUID) -> Reconciliation:
    """Return one of a client's reconciliations.

    Raises:
        NotFound: the client has no such reconciliation.
    """
    row = reconciliations_of(client_id).filter(pk=reconciliation_id).first()
    if row is None:
        raise NotFound
    return row


def breaks_of(row: Reconciliation) -> QuerySet[ReconciliationBreak]:
    """Return what did not match; `index` orders it, kind by kind."""
    return ReconciliationBreak.objects.filter(reconciliation=row)


def reconciliation_shape(row: Reconciliation) -> ReconciliationShape:
    """Return a reconciliation as its API shows it."""
    account = accounts_by_id([row.account_id])[row.account_id]
    return ReconciliationShape(
        id=row.pk,
        account=account_name(account),
        currency=account.currency,
        mapping=row.mapping,
        date_window_days=row.date_window_days,
        first_date=row.first_date.isoformat(),
        last_date=row.last_date.isoformat(),
        agrees=row.agrees,
        counts=msgspec.convert(row.counts, CountsShape),
        closing=_closing_shape(
            Closing(row.closing_bank, row.closing_books, row.rounding_minor), exponent=account.exponent
        ),
        content_sha256=bytes(row.content_hash).hex(),
        created_at=rfc3339(row.created_at),
    )


def break_shape(row: ReconciliationBreak) -> BreakShape:
    """Return a break as it was found."""
    return msgspec.convert(
        {
            "index": row.index,
            "kind": row.kind,
            "line": row.line,
            "entry": row.entry,
            "group": row.group,
            "repeats": row.repeats,
        },
        BreakShape,
    )


def break_shapes(comparison: Comparison, *, exponent: int) -> list[BreakShape]:
    """Return the breaks as they are shown and stored, counted from 0."""
    return [
        BreakShape(
            index=index,
            kind=found.verdict,
            line=None if found.line is None else _line_shape(comparison.lines[found.line.number], exponent),
            entry=None if found.entry is None else _entry_shape(comparison.entries[found.entry.number], exponent),
            group=found.group,
            repeats=found.repeats,
        )
        for index, found in enumerate(comparison.breaks)
    ]


def _closing_shape(closing: Closing, *, exponent: int) -> ClosingShape:
    printed = closing.printed
    return ClosingShape(
        bank=None if printed is None else format_amount(printed, exponent=exponent),
        books=format_amount(closing.ours or 0, exponent=exponent),
        difference=None if printed is None else format_amount(closing.difference, exponent=exponent),
        agrees=closing.agrees,
    )


def _line_shape(line: StatementLine, exponent: int) -> BankLineShape:
    return BankLineShape(
        number=line.number,
        date=line.on.isoformat(),
        amount=format_amount(line.amount_minor, exponent=exponent),
        balance=None if line.balance_minor is None else format_amount(line.balance_minor, exponent=exponent),
        id=line.id,
        reference=line.reference,
        description=line.description,
        counterparty=line.counterparty,
    )


def _entry_shape(entry: BookedLine, exponent: int) -> BookedLineShape:
    return BookedLineShape(
        account_version=entry.account_version,
        date=entry.on.isoformat(),
        amount=format_amount(entry.amount_minor, exponent=exponent),
        transaction_id=entry.transaction_id,
        receipt_code=entry.receipt_code,
        reference=entry.reference,
    )
