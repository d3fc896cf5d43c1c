"""Post batches that were stored: in turns, a round of one and then a round of the next.

A turn is one database transaction, from the lock of the batch's row to the results of its items: a poster that dies
leaves nothing half done, and two posters are never in one batch.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import psycopg
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models.functions import Now

from config.runtime import stopping
from config.runtime.arrays import numbers
from config.runtime.backoff import backoff
from config.runtime.database import raw_cursor
from config.runtime.deadline import ended_within
from config.runtime.errors import DomainError
from config.runtime.logging import get_logger
from config.runtime.metrics import POSTING_RETRIES
from config.runtime.sql import sql_file
from ledger.domain.batches import BatchMode, BatchStatus, ItemRefusal
from ledger.errors import RETRYABLE, DependencyDown
from ledger.locks import ROUND_PATIENCE, ROW_BY_ROW, bound_waits
from ledger.models import Batch
from ledger.posting.attempts import failure_code, is_over, repeated
from ledger.posting.engine import ROUND_SIZE_MAX, isolate, settle
from ledger.queries.batches import waiting
from ledger.services.batches.checks import Item
from ledger.services.batches.items import BatchHead, Spoiled, drafted, refusal_after
from ledger.services.batches.rows import count_attempts, finish_items
from ledger.services.submissions import Submission
from ledger.services.transactions import log_start

TURN_SIZE = 500
ONE_BY_ONE_S = 10.0
NEXT_ITEMS = sql_file("ledger/services/batches", "next_items")
LATER_GROUPS = sql_file("ledger/services/batches", "later_groups")

log = get_logger()


def post_due_batch(*, now: datetime | None = None) -> int:
    """Give the batch that has waited longest its turn; return how many of its items have an outcome now.

    A turn is up to 500 items in their order, in one commit, and more where a group would be cut. What a round cannot do
    is tried item by item and group by group, so that only the culprit waits or is refused. `now` is as for `settle`;
    what is due, the database clock decides.

    Raises:
        DatabaseError: the database is away; nothing is lost and nobody's attempt is counted.
    """
    batch_id = _longest_waiting()
    if batch_id is None:
        return 0
    try:
        return _round(batch_id, now=now)
    except Exception as error:  # noqa: BLE001  (a defect of ours in one batch must not hold up all others)
        code = _code_or_raise(error)
        log.warning("batches.one_by_one", batch_id=str(batch_id), error=code)
        return _one_by_one(batch_id, now)


def is_batch_due() -> bool:
    """Tell whether a batch waits for its turn."""
    return Batch.objects.filter(status=BatchStatus.PROCESSING, next_attempt_at__lte=Now()).exists()


def _longest_waiting() -> UUID | None:
    """Return the batch whose turn it is, of those that no other poster is at."""
    with transaction.atomic(durable=True):
        return (
            Batch.objects.select_for_update(skip_locked=True, no_key=True)
            .filter(status=BatchStatus.PROCESSING, next_attempt_at__lte=Now())
            .order_by("next_attempt_at", "id")
            .values_list("pk", flat=True)
            .first()
        )


def _round(
    batch_id: UUID,
    only: Collection[int] | None = None,
    refused: Mapping[int, DomainError] | None = None,
    *,
    now: datetime | None,
) -> int:
    """Post the next items, or those `only`; where a group cannot be booked, refuse it and do the round again."""
    try:
        return repeated(lambda: _commit(batch_id, only, refused or {}, now))
    except Spoiled as spoiled:
        return _round(batch_id, only, {**(refused or {}), **spoiled.refusals}, now=now)


def _commit(
    batch_id: UUID, only: Collection[int] | None, refused: Mapping[int, DomainError], now: datetime | None
) -> int:
    with transaction.atomic(durable=True), ended_within(settings.TRANSACTION_TIMEOUT):
        isolate()
        row = _claim(batch_id)
        if row is None:
            return 0
        items = _next_items(row, only)
        known = {index: refusal for index, refusal in refused.items() if index in items}
        draft = drafted(_head(row), items, now=row.created_at, refused=known)
        draft.refuse_mates()
        intents = list(draft.intents.values())
        settled = settle(intents, patience=ROUND_PATIENCE, now=now) if intents else None
        results = draft.results(settled.outcomes if settled is not None else [])
        # After a whole round it queues behind the others; one that is posted item by item keeps its place till the end.
        moved: dict[str, object] = {} if only is not None else {"next_attempt_at": Now()}
        count = finish_items(row, results, **moved)
    if settled is not None:
        log_start(intents)
        settled.report()
    return count


def _claim(batch_id: UUID) -> Batch | None:
    """Lock a batch that waits; None if another poster is at it, or was."""
    with raw_cursor() as cursor:
        cursor.execute(ROW_BY_ROW)
    rows = Batch.objects.select_for_update(skip_locked=True, no_key=True)
    return rows.filter(pk=batch_id, status=BatchStatus.PROCESSING).first()


def _head(row: Batch) -> BatchHead:
    return BatchHead(
        id=row.pk,
        client_id=row.client_id,
        mode=BatchMode(row.mode),
        actor=row.actor,
        request_id=row.request_id,
        trace=row.trace,
    )


def _next_items(row: Batch, only: Collection[int] | None = None) -> dict[int, Item]:
    """Return what is posted together in the next turn, by index."""
    return {index: msgspec.json.decode(body, type=Submission) for index, (_, body) in _next_bodies(row, only).items()}


def _next_bodies(row: Batch, only: Collection[int] | None = None) -> dict[int, tuple[str | None, str]]:
    """Return the group and the text of each: whole groups, and never more than a round takes."""
    found = _waiting(row, only=only, size=TURN_SIZE if only is None else len(only))
    groups = {index: group for index, (group, _) in found.items()}
    if only is None and any(groups.values()):
        groups |= _mates(row, after=max(groups), of=set(groups.values()))
    chosen: list[int] = []
    for unit in _units(groups):
        if chosen and (len(chosen) >= TURN_SIZE or len(chosen) + len(unit) > ROUND_SIZE_MAX):
            break
        chosen += unit
    missing = [index for index in chosen if index not in found]
    if missing:
        found |= _waiting(row, only=missing, size=len(missing))
    return {index: found[index] for index in sorted(chosen)}


def _waiting(row: Batch, *, only: Collection[int] | None, size: int) -> dict[int, tuple[str | None, str]]:
    parameters = {"batch_id": row.pk, "only": None if only is None else numbers(only), "size": size}
    with raw_cursor() as cursor:
        return {index: (group, body) for index, group, body in cursor.execute(NEXT_ITEMS, parameters)}


def _mates(row: Batch, *, after: int, of: Collection[str | None]) -> dict[int, str | None]:
    # Chosen here: a join by label leads PostgreSQL, which knows little of a new batch, through all of it for each.
    with raw_cursor() as cursor:
        later = cursor.execute(LATER_GROUPS, {"batch_id": row.pk, "after": after})
        return {index: group for index, group in later if group in of}


def _units(groups: Mapping[int, str | None]) -> Iterable[list[int]]:
    """Return the indexes of what is booked together, in the order of the first of each."""
    units: dict[str | int, list[int]] = {}
    for index, group in groups.items():
        units.setdefault(index if group is None else group, []).append(index)
    return units.values()


def _one_by_one(batch_id: UUID, now: datetime | None) -> int:
    until = time.monotonic() + ONE_BY_ONE_S
    count, culprits = 0, dict[int, str]()
    bodies = _next_bodies(Batch.objects.get(pk=batch_id))
    for unit in _units({index: group for index, (group, _) in bodies.items()}):
        try:
            count += _round(batch_id, unit, now=now)
        except Exception as error:  # noqa: BLE001  (as in a turn: it is this unit's, not the others')
            code = _code_or_raise(error)
            culprits |= dict.fromkeys(unit, code)
            log.warning("batches.item_undone", batch_id=str(batch_id), index=unit[0], error=code, **_named(error))
        if time.monotonic() > until or stopping.stopping():
            break
    return count + _count_tries(batch_id, culprits)


def _count_tries(batch_id: UUID, culprits: Mapping[int, str]) -> int:
    """Let culprits wait for another turn, or give up those that it does not mend or that had enough of them."""
    with transaction.atomic(durable=True):
        bound_waits()
        row = _claim(batch_id)
        if row is None:
            return 0
        rows = waiting().filter(batch=row, index__in=culprits).values_list("index", "attempts")
        tries = {index: attempts + 1 for index, attempts in rows}
        for code in (culprits[index] for index in tries):
            if code in RETRYABLE:
                POSTING_RETRIES.labels(code).inc()
        refusals = {index: _refusal(culprits[index], count) for index, count in tries.items()}
        # A turn begins with all that wait, so it is due when the one is that was tried most often.
        most = max((count for index, count in tries.items() if refusals[index] is None), default=0)
        pause = backoff(most) if most else timedelta()
        return count_attempts(row, refusals, next_attempt_at=Now() + pause)


def _refusal(code: str, attempts: int) -> ItemRefusal | None:
    return refusal_after(code, attempts) if is_over(code, attempts) else None


def _code_or_raise(error: Exception) -> str:
    """Return the code of what went wrong; with the database away, nothing is anybody's fault."""
    code = failure_code(error)
    if code == DependencyDown.code:
        raise error
    return code


def _named(error: Exception) -> dict[str, str | None]:
    """Return which rule of the database it was. Not the whole message: it may show what the client wrote."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    if not isinstance(cause, psycopg.Error):
        return {"cause": type(cause).__name__}
    return {"sqlstate": cause.sqlstate, "constraint": cause.diag.constraint_name}
