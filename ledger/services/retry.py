"""Retry transactions that failed for a reason that another try may mend (spec 000, partial retry; spec 003)."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from config.runtime.arrays import texts, uuids
from config.runtime.database import raw_cursor
from config.runtime.deadline import Overdue, ended_within
from config.runtime.sql import sql_file
from config.runtime.tracing import outgoing_headers
from ledger.clients.services import record_audit
from ledger.domain.shapes import TransactionShape
from ledger.domain.states import Status
from ledger.errors import (
    ATTEMPTS_MAX,
    RETRYABLE,
    AcceptTimeout,
    NotFailed,
    NotRetryable,
    Parked,
    StillProcessing,
)
from ledger.lists import bump_stored
from ledger.locks import bound_waits
from ledger.models import Transaction
from ledger.posting.queue import QUEUE
from ledger.queries.transactions import get_transaction, transaction_shape
from ledger.services.idempotency import Claim, keep_key, take_key
from ledger.status import announce, status_of

OPERATION = "transactions.retry"
RETRIED = "transaction.retried"
REASON = "retry"
REQUEUE = sql_file("ledger/services", "requeue")


@dataclass(frozen=True, slots=True)
class Retried:
    """A transaction that is on its way again; `replayed` when an earlier request with the same key sent it there."""

    transaction: TransactionShape
    replayed: bool


def retry_transaction(
    *,
    client_id: int,
    transaction_id: UUID,
    codes: Collection[str] = RETRYABLE,
    attempts_max: int = ATTEMPTS_MAX,
    reason: str = REASON,
    claim: Claim | None = None,
    is_audited: bool = False,
    actor: str,
    request_id: str,
) -> Retried:
    """Put a transaction back into the queue that failed for one of these reasons and was tried fewer times.

    `reason` stands in the history, and what `is_audited` in the audit trail as well.

    Raises:
        NotFound: the client has no such transaction.
        StillProcessing: it is running.
        NotFailed: it is final without a failure.
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
                    # Who retried it first may have died before it could.
                    transaction.on_commit(partial(bump_stored, [UUID(earlier)]))
                    return Retried(transaction_shape(get_transaction(client_id, UUID(earlier))), replayed=True)
            row = get_transaction(client_id, transaction_id)
            _check(row, codes, attempts_max)
            asked: dict[str, Any] = {"codes": codes, "attempts_max": attempts_max, "reason": reason}
            if not requeue([row.pk], actor=actor, request_id=request_id, **asked):
                raise StillProcessing("Another retry was first.")
            if is_audited:
                record_audit(
                    client_id=client_id,
                    actor=actor,
                    action=RETRIED,
                    subject=row,
                    reason=reason,
                    request_id=request_id,
                    detail={"error": row.error_code, "attempts": row.attempts},
                )
            if claim is not None:
                keep_key(client_id=client_id, claim=claim, object_id=str(row.pk))
            shape = transaction_shape(get_transaction(client_id, row.pk))
            written_at = time.monotonic()
    except Overdue as error:
        raise AcceptTimeout(retry_after_s=1) from error
    announce([(client_id, status_of(shape))], begun_at=written_at)
    return Retried(shape, replayed=False)


def requeue(
    transaction_ids: Sequence[UUID],
    *,
    codes: Collection[str],
    attempts_max: int,
    reason: str = REASON,
    actor: str,
    request_id: str,
) -> int:
    """Put those back into the queue that failed for one of these reasons and were tried fewer times; return how many.

    Call inside a database transaction.

    Raises:
        QueueFull: the posting queue has no room for all of them.
    """
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
                "reason": reason,
                "actor": actor,
                "request_id": request_id,
                "trace": outgoing_headers().get("traceparent", ""),
            },
        )
        count = cursor.rowcount
    QUEUE.joined(count)
    transaction.on_commit(partial(bump_stored, transaction_ids))
    return count


def _check(row: Transaction, codes: Collection[str], attempts_max: int) -> None:
    if row.status == Status.PROCESSING:
        raise StillProcessing
    if row.status != Status.FAILED:
        raise NotFailed(f"It is {row.status}.")
    if row.error_code not in codes:
        raise NotRetryable(f"It failed with {row.error_code}, which another try does not change.")
    if row.attempts >= attempts_max:
        raise Parked(f"It has been tried {row.attempts} times; staff look after it.")
