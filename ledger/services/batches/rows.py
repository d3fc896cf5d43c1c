"""Write batches and their items, set-wise. Call inside a database transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

import msgspec
from django.db.models.functions import Coalesce, Now

from config.runtime.arrays import numbers, texts
from config.runtime.clock import now
from config.runtime.database import raw_cursor
from config.runtime.sql import sql_file
from ledger.domain.batches import BatchMode, BatchStatus, ItemRefusal, ItemResult
from ledger.events.outbox import Happened, record_events
from ledger.events.types import EventType
from ledger.models import Batch
from ledger.queries.batches import batch_shape, given_up
from ledger.services.batches.checks import Item
from ledger.services.batches.items import BatchHead
from ledger.services.batches.room import check_room

WRITE = sql_file("ledger/services/batches", "write_items")
FINISH = sql_file("ledger/services/batches", "finish_items")
COUNT_ATTEMPTS = sql_file("ledger/services/batches", "count_attempts")


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
    if not waiting:
        _tell(row)
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
    _count_down(row, count, moved)
    return count


def count_attempts(row: Batch, refusals: Mapping[int, ItemRefusal | None], **moved: object) -> int:
    """Count a try of items that wait, and give up those that have a refusal; return how many these are.

    The batch's row must be locked.
    """
    if refusals:
        with raw_cursor() as cursor:
            columns = {"batch_id": row.pk, "index": numbers(refusals), "error": _errors(refusals.values())}
            cursor.execute(COUNT_ATTEMPTS, columns)
    count = sum(refusal is not None for refusal in refusals.values())
    _count_down(row, count, moved)
    return count


def wait_again(row: Batch, *, codes: Collection[str], attempts_max: int) -> int:
    """Let those items wait again that were given up for one of these reasons and tried fewer times; return how many.

    Raises:
        QueueFull: so many more may not wait.
    """
    locked = Batch.objects.select_for_update(no_key=True).get(pk=row.pk)
    count = given_up(codes).filter(batch=locked, attempts__lt=attempts_max).update(error=None)
    if count:
        check_room(count)
        Batch.objects.filter(pk=locked.pk).update(
            status=BatchStatus.PROCESSING,
            waiting_count=locked.waiting_count + count,
            completed_at=None,
            next_attempt_at=Coalesce("next_attempt_at", Now()),
        )
    return count


def _count_down(row: Batch, count: int, moved: Mapping[str, object]) -> None:
    left = row.waiting_count - count
    if not left:
        moved = {"status": BatchStatus.COMPLETED.value, "completed_at": now(), "next_attempt_at": None}
    Batch.objects.filter(pk=row.pk).update(waiting_count=left, **moved)
    if not left:
        _tell(Batch.objects.get(pk=row.pk))


def _tell(row: Batch) -> None:
    """Record that a batch has come to its end."""
    event_type = EventType.BATCH_COMPLETED if row.status == BatchStatus.COMPLETED else EventType.BATCH_FAILED
    data = msgspec.json.encode(batch_shape(row)).decode()
    with raw_cursor() as cursor:
        record_events(cursor, [Happened(row.client_id, event_type, row.pk, data, row.trace)])


def _outcome_columns(results: Mapping[int, ItemResult]) -> dict[str, str]:
    made = [result.transaction for result in results.values()]
    return {
        "index": numbers(results),
        "transaction_id": texts(None if shape is None else shape.id.hex for shape in made),
        "error": _errors(result.refusal for result in results.values()),
        "replayed": numbers(int(result.replayed) for result in results.values()),
    }


def _errors(refusals: Iterable[ItemRefusal | None]) -> str:
    return texts(None if refusal is None else msgspec.json.encode(refusal).decode() for refusal in refusals)
