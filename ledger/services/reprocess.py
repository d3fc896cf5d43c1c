"""Have posted again what staff choose: transactions and items of batches, parked ones included (spec 003)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Count, QuerySet

from config.runtime.ids import first_at
from ledger.clients.services import record_audit
from ledger.domain.batches import BatchStatus
from ledger.domain.states import Status
from ledger.errors import RETRYABLE, PostingRefused
from ledger.locks import bound_waits
from ledger.models import Batch, BatchItem, QueuedPosting, Transaction
from ledger.queries.batches import given_up, waiting
from ledger.services.batches.rows import wait_again
from ledger.services.retry import Retried, requeue, retry_transaction

CHUNK_SIZE = 100  # it joins the queue as a whole, which must not be smaller
# Staff may retry once more what is parked, and what a defect refused that has been mended since.
STAFF_CODES = RETRYABLE | {PostingRefused.code}
STAFF_ATTEMPTS_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What staff mean: what was created since a moment and failed, for one of these reasons, or is between two tries.

    Of all clients, or of one.
    """

    since: datetime
    status: Status = Status.FAILED
    codes: Collection[str] = STAFF_CODES
    client_id: int | None = None


def count_by_code(selection: Selection) -> Counter[str]:
    """Count what staff mean by its error code, "" for what waits for its next attempt."""
    found = Counter[str]()
    transactions = _transactions(selection).order_by().values_list("error_code").annotate(count=Count("*"))
    items = _items(selection).order_by().values_list("error__code").annotate(count=Count("*"))
    for code, count in [*transactions, *items]:
        found[code or ""] += count
    return found


def reprocess(selection: Selection, *, actor: str, now: datetime) -> Iterator[tuple[int, int]]:
    """Let what failed wait in its queue again, and make due at once what waits: transactions, then items of batches.

    It is done step by step, oldest first. Return of each step, after its commit, how many were looked at and how many
    of them are on their way.

    Raises:
        QueueFull: a queue has no room for all of a step.
    """
    for ids in _chunks(selection):
        yield len(ids), _reprocess_transactions(ids, selection, actor, now)
    for batch_id, count in _batches(selection):
        yield count, _reprocess_batch(batch_id, count, selection, actor, now)


def reprocess_transaction(*, client_id: int, transaction_id: UUID, reason: str, actor: str, request_id: str) -> Retried:
    """Put one failed transaction back into the queue, as staff may: also when it is parked; it is audited.

    Raises:
        NotFound: the client has no such transaction.
        StillProcessing, NotFailed, NotRetryable, Parked: as for `retry_transaction`.
        QueueFull: the posting queue has no room.
    """
    return retry_transaction(
        client_id=client_id,
        transaction_id=transaction_id,
        codes=STAFF_CODES,
        attempts_max=STAFF_ATTEMPTS_MAX,
        reason=reason,
        is_audited=True,
        actor=actor,
        request_id=request_id,
    )


def _transactions(selection: Selection) -> QuerySet[Transaction]:
    rows = Transaction.objects.filter(pk__gte=first_at(selection.since), status=selection.status.value)
    if selection.status is Status.FAILED:
        rows = rows.filter(error_code__in=selection.codes)
    else:
        rows = rows.filter(attempts__gt=0)
    return rows if selection.client_id is None else rows.filter(client_id=selection.client_id)


def _items(selection: Selection) -> QuerySet[BatchItem]:
    rows = given_up(selection.codes) if selection.status is Status.FAILED else waiting().filter(attempts__gt=0)
    rows = rows.filter(batch_id__gte=first_at(selection.since))
    return rows if selection.client_id is None else rows.filter(batch__client_id=selection.client_id)


def _chunks(selection: Selection) -> Iterator[list[UUID]]:
    rows = _transactions(selection).order_by("pk").values_list("pk", flat=True)
    found = list(rows[:CHUNK_SIZE])
    while found:
        yield found
        found = list(rows.filter(pk__gt=found[-1])[:CHUNK_SIZE])


def _batches(selection: Selection) -> list[tuple[UUID, int]]:
    """Return which batches, and how many of their items. They are not parted: a group is booked whole."""
    return list(_items(selection).order_by("batch_id").values_list("batch_id").annotate(count=Count("*")))


def _reprocess_transactions(ids: Sequence[UUID], selection: Selection, actor: str, now: datetime) -> int:
    with transaction.atomic(durable=True):
        bound_waits()
        if selection.status is Status.FAILED:
            return requeue(ids, codes=selection.codes, attempts_max=STAFF_ATTEMPTS_MAX, actor=actor, request_id="")
        early = QueuedPosting.objects.filter(pk__in=ids, next_attempt_at__gt=now, transaction__attempts__gt=0)
        return early.update(next_attempt_at=now)


def _reprocess_batch(batch_id: UUID, count: int, selection: Selection, actor: str, now: datetime) -> int:
    with transaction.atomic(durable=True):
        bound_waits()
        if selection.status is not Status.FAILED:
            early = Batch.objects.filter(pk=batch_id, status=BatchStatus.PROCESSING, next_attempt_at__gt=now)
            return count if early.update(next_attempt_at=now) else 0
        row = Batch.objects.get(pk=batch_id)
        moved = wait_again(row, codes=selection.codes, attempts_max=STAFF_ATTEMPTS_MAX)
        if moved:  # items have no history of their own
            record_audit(
                client_id=row.client_id, actor=actor, action="batch.reprocessed", subject=row, detail={"items": moved}
            )
        return moved
