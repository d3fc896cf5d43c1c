"""Reads of batches: shapes, counts, items."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

import msgspec
from django.db.models import QuerySet

from config.runtime.clock import rfc3339
from config.runtime.database import raw_cursor
from config.runtime.errors import NotFound
from config.runtime.sql import sql_file
from ledger.domain.batches import (
    BatchCounts,
    BatchDetailShape,
    BatchProgress,
    BatchShape,
    ItemRefusal,
    ItemResult,
)
from ledger.domain.states import Status
from ledger.models import Batch, BatchItem
from ledger.queries.transactions import shown_transactions

COUNT = sql_file("ledger/queries", "count_batch_items")
# How long the queue of batches is: their rows say so, since each item has its own.
WAITING = "SELECT coalesce(sum(waiting_count), 0) FROM ledger_batch WHERE status = 'processing'"


def batches_of(client_id: int) -> QuerySet[Batch]:
    """Return a client's batches."""
    return Batch.objects.filter(client_id=client_id)


def get_batch(client_id: int, batch_id: UUID) -> Batch:
    """Return one of a client's batches.

    Raises:
        NotFound: the client has no such batch.
    """
    row = batches_of(client_id).filter(pk=batch_id).first()
    if row is None:
        raise NotFound
    return row


def items_of(row: Batch) -> QuerySet[BatchItem]:
    """Return a batch's items; `index` orders them."""
    return BatchItem.objects.filter(batch=row)


def waiting() -> QuerySet[BatchItem]:
    """Return the items, of whatever batch, that wait for their turn."""
    return BatchItem.objects.filter(body__isnull=False, error__isnull=True)


def given_up(codes: Collection[str]) -> QuerySet[BatchItem]:
    """Return the items, of whatever batch, that were given up for one of these reasons; they can be tried again."""
    return BatchItem.objects.filter(body__isnull=False, error__code__in=codes)


def waiting_items() -> int:
    """Return how many items of all batches wait for their turn."""
    with raw_cursor() as cursor:
        return int(cursor.execute(WAITING).fetchall()[0][0])


def batch_shape(row: Batch) -> BatchShape:
    """Return a batch as a list shows it."""
    return BatchShape(
        id=row.pk,
        mode=row.mode,
        status=row.status,
        counts=BatchProgress(total=row.item_count, waiting=row.waiting_count),
        created_at=rfc3339(row.created_at),
        completed_at=rfc3339(row.completed_at) if row.completed_at else None,
    )


def batch_detail(row: Batch, results: Iterable[ItemResult] | None = None) -> BatchDetailShape:
    """Return a batch as it is shown alone; its items are counted from `results` where they are at hand."""
    shape = batch_shape(row)
    return BatchDetailShape(
        id=shape.id,
        mode=shape.mode,
        status=shape.status,
        counts=_counted(row) if results is None else _added_up(row, results),
        created_at=shape.created_at,
        completed_at=shape.completed_at,
    )


def item_results(rows: Iterable[BatchItem]) -> list[ItemResult]:
    """Return items with their transactions as they are now."""
    found = list(rows)
    shapes = shown_transactions(row.transaction_id for row in found if row.transaction_id is not None)
    return [
        ItemResult(
            index=row.index,
            transaction=None if row.transaction_id is None else shapes[row.transaction_id],
            refusal=None if row.error is None else msgspec.convert(row.error, ItemRefusal),
            replayed=row.replayed,
        )
        for row in found
    ]


def _counted(row: Batch) -> BatchCounts:
    with raw_cursor() as cursor:
        waiting, processing, completed, failed = cursor.execute(COUNT, {"batch_id": row.pk}).fetchall()[0]
    return BatchCounts(total=row.item_count, waiting=waiting, processing=processing, completed=completed, failed=failed)


def _added_up(row: Batch, results: Iterable[ItemResult]) -> BatchCounts:
    failed = processing = completed = 0
    for result in results:
        if result.refusal is not None or (result.transaction is not None and result.transaction.error is not None):
            failed += 1
        elif result.transaction is not None and result.transaction.status == Status.PROCESSING:
            processing += 1
        elif result.transaction is not None:
            completed += 1
    waiting = row.waiting_count
    return BatchCounts(total=row.item_count, waiting=waiting, processing=processing, completed=completed, failed=failed)
