"""Retry what failed for a reason that another try may mend (spec 000, partial retry; spec 003, retry classes)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, QuerySet
from django.db.models.functions import Now

from config.runtime.arrays import texts, uuids
from config.runtime.database import raw_cursor
from config.runtime.deadline import Overdue, ended_within
from config.runtime.ids import first_at
from config.runtime.sql import sql_file
from config.runtime.tracing import outgoing_headers
from ledger.domain.batches import BatchDetailShape, BatchStatus
from ledger.domain.shapes import TransactionShape
from ledger.domain.states import Status
from ledger.errors import (
    ATTEMPTS_MAX,
    RETRYABLE,
    AcceptTimeout,
    NotFailed,
    NotRetryable,
    Parked,
    PostingRefused,
)
from ledger.locks import bound_waits
from ledger.models import Batch, QueuedPosting, Transaction
from ledger.posting.queue import QUEUE
from ledger.queries.batches import batch_detail, get_batch, items_of
from ledger.queries.transactions import get_transaction, transaction_shape
from ledger.services.batch_turns import TRIES_IN_A_ROW
from ledger.services.idempotency import Claim, keep_key, take_key
from ledger.status import announce, status_of

OPERATION = "transactions.retry"
BATCH_OPERATION = "batches.retry"
REQUEUE = sql_file("ledger/services", "requeue")
CHUNK_SIZE = 500
# Staff may retry once more what is parked, and what a defect refused that has been mended since.
STAFF_CODES = RETRYABLE | {PostingRefused.code}
STAFF_ATTEMPTS_MAX = 100


@dataclass(frozen=True, slots=True)
class Retried:
    """A transaction that is on its way again; `replayed` when an earlier request with the same key sent it there."""

    transaction: TransactionShape
    replayed: bool


@dataclass(frozen=True, slots=True)
class RetriedBatch:
    """A batch of which something is on its way again; `replayed` as above."""

    batch: BatchDetailShape
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which transactions staff mean: those since a moment with a status, of a code and client if one is named."""

    since: datetime
    status: Status = Status.FAILED
    codes: Collection[str] = STAFF_CODES
    client_id: int | None = None


def retry_transaction(
    *, client_id: int, transaction_id: UUID, actor: str, request_id: str, claim: Claim | None = None
) -> Retried:
    """Put a failed transaction back into the queue.

    Raises:
        NotFound: the client has no such transaction.
        NotFailed: it is running, or final without a failure.
        NotRetryable: it failed for a reason that another try does not change.
        Parked: it has been tried as often as may be.
        QueueFull: the posting queue has no room.
    """
    try:
        with transaction.atomic(durable=True), ended_within(settings.RECEIPT_TIMEOUT):
            bound_waits()
            if claim is not None:
                earlier = take_key(client_id=client_id, claim=claim)
                if earlier is not None:
                    return Retried(transaction_shape(get_transaction(client_id, UUID(earlier))), replayed=True)
            row = get_transaction(client_id, transaction_id)
            _check(row)
            if not _requeue([row.pk], RETRYABLE, ATTEMPTS_MAX, actor=actor, request_id=request_id):
                raise NotFailed(f"It is {Status.PROCESSING.value}: another retry was first.")
            if claim is not None:
                keep_key(client_id=client_id, claim=claim, object_id=str(row.pk))
            shape = transaction_shape(get_transaction(client_id, row.pk))
            written_at = time.monotonic()
    except Overdue as error:
        raise AcceptTimeout(retry_after_s=1) from error
    announce([(client_id, status_of(shape))], begun_at=written_at)
    return Retried(shape, replayed=False)


def retry_batch(
    *, client_id: int, batch_id: UUID, actor: str, request_id: str, claim: Claim | None = None
) -> RetriedBatch:
    """Have posted again what of a batch failed for a passing reason: its transactions, and items that have none.

    Raises:
        NotFound: the client has no such batch.
        NotFailed: it is running, and nothing of it has failed for such a reason.
        NotRetryable: nothing of it has, or it was tried as often as may be.
        QueueFull: the posting queue has no room for all of them.
    """
    try:
        with transaction.atomic(durable=True), ended_within(settings.TRANSACTION_TIMEOUT):
            bound_waits()
            if claim is not None:
                earlier = take_key(client_id=client_id, claim=claim)
                if earlier is not None:
                    return RetriedBatch(batch_detail(get_batch(client_id, UUID(earlier))), replayed=True)
            row = get_batch(client_id, batch_id)
            if not _requeue_failed(row, actor=actor, request_id=request_id) + _wait_again(row):
                if row.status == BatchStatus.PROCESSING:
                    raise NotFailed(f"It is {row.status}.")
                raise NotRetryable("Nothing of the batch failed for a reason that another try may mend.")
            if claim is not None:
                keep_key(client_id=client_id, claim=claim, object_id=str(row.pk))
            batch = batch_detail(get_batch(client_id, batch_id))
    except Overdue as error:
        raise AcceptTimeout(retry_after_s=1) from error
    return RetriedBatch(batch, replayed=False)


def _requeue_failed(row: Batch, *, actor: str, request_id: str) -> int:
    failed = Transaction.objects.filter(
        pk__in=items_of(row).values("transaction_id"),
        client_id=row.client_id,
        status=Status.FAILED,
        error_code__in=RETRYABLE,
        attempts__lt=ATTEMPTS_MAX,
    )
    ids = list(failed.order_by("pk").values_list("pk", flat=True))
    return len(_requeue(ids, RETRYABLE, ATTEMPTS_MAX, actor=actor, request_id=request_id)) if ids else 0


def _wait_again(row: Batch) -> int:
    """Let the items wait for another turn that were refused for a passing reason; they have kept what was asked."""
    locked = Batch.objects.select_for_update(no_key=True).get(pk=row.pk)
    count = items_of(locked).filter(body__isnull=False, error__retryable=True).update(error=None)
    if count:
        Batch.objects.filter(pk=locked.pk).update(
            status=BatchStatus.PROCESSING,
            waiting_count=F("waiting_count") + count,
            attempts=TRIES_IN_A_ROW,
            completed_at=None,
            next_attempt_at=Now(),
        )
    return count


def count_by_code(selection: Selection) -> Counter[str]:
    """Count what staff mean by its error code, "" for what waits for its next attempt."""
    counted = _rows(selection).values_list("error_code").annotate(Count("pk")).order_by()
    return Counter({code or "": count for code, count in counted})


def select(selection: Selection) -> Iterator[list[UUID]]:
    """Return the ids of what staff mean, oldest first, in chunks."""
    after: UUID | None = None
    while found := list(_after(_rows(selection), after).order_by("pk").values_list("pk", flat=True)[:CHUNK_SIZE]):
        after = found[-1]
        yield found


def _after(rows: QuerySet[Transaction], after: UUID | None) -> QuerySet[Transaction]:
    return rows if after is None else rows.filter(pk__gt=after)


def _rows(selection: Selection) -> QuerySet[Transaction]:
    rows = Transaction.objects.filter(pk__gte=first_at(selection.since), status=selection.status.value)
    if selection.status is Status.FAILED:
        rows = rows.filter(error_code__in=selection.codes)
    else:
        rows = rows.filter(attempts__gt=0)
    return rows if selection.client_id is None else rows.filter(client_id=selection.client_id)


def reprocess(transaction_ids: Sequence[UUID], *, status: Status, actor: str, now: datetime) -> list[UUID]:
    """Let staff's choice be posted: failed ones go back into the queue, waiting ones are due at once; return them.

    Raises:
        QueueFull: the posting queue has no room for all of them.
    """
    with transaction.atomic(durable=True):
        bound_waits()
        if status is Status.FAILED:
            return _requeue(transaction_ids, STAFF_CODES, STAFF_ATTEMPTS_MAX, actor=actor, request_id="")
        waiting = QueuedPosting.objects.filter(
            pk__in=transaction_ids, next_attempt_at__gt=now, transaction__attempts__gt=0
        )
        ids = list(waiting.values_list("pk", flat=True))
        waiting.update(next_attempt_at=now)
        return ids


def _check(row: Transaction) -> None:
    if row.status != Status.FAILED:
        raise NotFailed(f"It is {row.status}.")
    if row.error_code not in RETRYABLE:
        raise NotRetryable(f"It failed with {row.error_code}, which another try does not change.")
    if row.attempts >= ATTEMPTS_MAX:
        raise Parked(f"It has been tried {row.attempts} times; staff look after it.")


def _requeue(
    transaction_ids: Sequence[UUID], codes: Collection[str], attempts_max: int, *, actor: str, request_id: str
) -> list[UUID]:
    with raw_cursor() as cursor:
        is_asked = QUEUE.ask(cursor, len(transaction_ids))
        refusal = QUEUE.room(cursor if is_asked else None).objection(len(transaction_ids) - 1)
        if refusal is not None:
            raise refusal
        cursor.execute(
            REQUEUE,
            {
                "ids": uuids(transaction_ids),
                "codes": texts(codes),
                "attempts_max": attempts_max,
                "actor": actor,
                "request_id": request_id,
                "trace": outgoing_headers().get("traceparent", ""),
            },
        )
        moved = [row[0] for row in cursor]
    QUEUE.joined(len(moved))
    return moved
