"""Write batches and their items, set-wise. Call inside a database transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec
from django.db.models.functions import Now

from config.runtime.arrays import numbers, texts
from config.runtime.clock import now
from config.runtime.database import raw_cursor
from config.runtime.sql import sql_file
from ledger.domain.batches import BatchMode, BatchStatus, ItemResult
from ledger.models import Batch
from ledger.services.batch_checks import Item
from ledger.services.batch_items import BatchHead

WRITE = sql_file("ledger/services", "write_batch_items")
FINISH = sql_file("ledger/services", "finish_batch_items")


def write_batch(
    head: BatchHead, items: Mapping[int, Item], results: Mapping[int, ItemResult], *, created_at: datetime
) -> Batch:
    """Write a new batch: the items that have no result wait for their turn."""
    waiting = len(items) - len(results)
    is_refused = head.mode is BatchMode.ATOMIC and any(result.refusal for result in results.values())
    status = BatchStatus.PROCESSING if waiting else BatchStatus.FAILED if is_refused else BatchStatus.COMPLETED
    row = Batch.objects.create(
        id=head.id,
        client_id=head.client_id,
        mode=head.mode.value,
        status=status.value,
        item_count=len(items),
        waiting_count=waiting,
        actor=head.actor,
        request_id=head.request_id,
        trace=head.trace,
        created_at=created_at,
        completed_at=None if waiting else now(),
        next_attempt_at=Now() if waiting else None,
    )
    columns = _outcome_columns({index: results.get(index) or ItemResult(index=index) for index in items})
    bodies = [None if index in results else msgspec.json.encode(item).decode() for index, item in items.items()]
    groups = [item.group for item in items.values()]
    with raw_cursor() as cursor:
        cursor.execute(WRITE, columns | {"batch_id": head.id, "group": texts(groups), "body": texts(bodies)})
    return row


def finish_items(row: Batch, results: Mapping[int, ItemResult], **moved: object) -> int:
    """Write the results of items that waited, and what else has `moved` on the batch; return how many they were.

    The batch's row must be locked.
    """
    count = 0
    if results:
        with raw_cursor() as cursor:
            cursor.execute(FINISH, _outcome_columns(results) | {"batch_id": row.pk})
            count = cursor.rowcount
    left = row.waiting_count - count
    if not left:
        moved = {"status": BatchStatus.COMPLETED.value, "completed_at": now(), "next_attempt_at": None, "attempts": 0}
    Batch.objects.filter(pk=row.pk).update(waiting_count=left, **moved)
    return count


def _outcome_columns(results: Mapping[int, ItemResult]) -> dict[str, str]:
    made = [result.transaction for result in results.values()]
    refusals = [result.refusal for result in results.values()]
    return {
        "index": numbers(results),
        "transaction_id": texts(None if shape is None else shape.id.hex for shape in made),
        "error": texts(None if refusal is None else msgspec.json.encode(refusal).decode() for refusal in refusals),
        "replayed": numbers(int(result.replayed) for result in results.values()),
    }
