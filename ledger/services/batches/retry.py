"""Retry batches: what of them failed for a passing reason is posted again (spec 000, partial retry)."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from config.runtime.deadline import Overdue, ended_within
from config.runtime.errors import DomainError
from ledger.domain.batches import BatchDetailShape, BatchStatus
from ledger.domain.states import Status
from ledger.errors import ATTEMPTS_MAX, RETRYABLE, AcceptTimeout, NotRetryable, Parked, StillProcessing
from ledger.locks import bound_waits
from ledger.models import Batch, Transaction
from ledger.queries.batches import batch_detail, get_batch, given_up, items_of
from ledger.services.batches.rows import wait_again
from ledger.services.idempotency import Claim, keep_key, take_key
from ledger.services.retry import requeue

OPERATION = "batches.retry"


@dataclass(frozen=True, slots=True)
class RetriedBatch:
    """A batch of which something is on its way again; `replayed` when an earlier request with the same key sent it."""

    batch: BatchDetailShape
    replayed: bool


def retry_batch(
    *, client_id: int, batch_id: UUID, actor: str, request_id: str, claim: Claim | None = None
) -> RetriedBatch:
    """Have posted again what of a batch failed for a passing reason: its transactions, and items that have none.

    Raises:
        NotFound: the client has no such batch.
        StillProcessing: it is running, and nothing of it has failed for such a reason.
        Parked: what has was tried as often as may be, all of it.
        NotRetryable: nothing of it has.
        QueueFull: the posting queue, or that of batches, has no room for all of them.
    """
    try:
        with transaction.atomic(durable=True), ended_within(settings.TRANSACTION_TIMEOUT):
            bound_waits()
            if claim is not None:
                earlier = take_key(client_id=client_id, claim=claim)
                if earlier is not None:
                    return RetriedBatch(batch_detail(get_batch(client_id, UUID(earlier))), replayed=True)
            row = get_batch(client_id, batch_id)
            count = _requeue_failed(row, actor=actor, request_id=request_id)
            if not count + wait_again(row, codes=RETRYABLE, attempts_max=ATTEMPTS_MAX):
                raise _objection(row)
            if claim is not None:
                keep_key(client_id=client_id, claim=claim, object_id=str(row.pk))
            batch = batch_detail(get_batch(client_id, batch_id))
    except Overdue as error:
        raise AcceptTimeout(retry_after_s=1) from error
    return RetriedBatch(batch, replayed=False)


def _requeue_failed(row: Batch, *, actor: str, request_id: str) -> int:
    ids = list(_failed(row).filter(attempts__lt=ATTEMPTS_MAX).order_by("pk").values_list("pk", flat=True))
    if not ids:
        return 0
    return requeue(ids, codes=RETRYABLE, attempts_max=ATTEMPTS_MAX, actor=actor, request_id=request_id)


def _failed(row: Batch) -> QuerySet[Transaction]:
    """Return a batch's transactions that failed for a passing reason."""
    return Transaction.objects.filter(
        pk__in=items_of(row).values("transaction_id"),
        client_id=row.client_id,
        status=Status.FAILED,
        error_code__in=RETRYABLE,
    )


def _objection(row: Batch) -> DomainError:
    """Return why nothing of a batch can be retried."""
    if row.status == BatchStatus.PROCESSING:
        return StillProcessing()
    if _failed(row).exists() or given_up(RETRYABLE).filter(batch=row).exists():
        return Parked("What failed for a passing reason has been tried as often as may be; staff look after it.")
    return NotRetryable("Nothing of the batch failed for a reason that another try may mend.")
