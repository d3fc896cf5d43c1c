"""Post what was accepted: round by round, in the order of the ids, one poster a lane (design §4).

Claim, evaluation, write and outcome are one database transaction, so a poster that dies leaves nothing half done: its
lock goes with its session, and the rows are as they were.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models.functions import Now
from psycopg import errors as pg

from config.runtime import clock, stopping
from config.runtime.arrays import uuids
from config.runtime.backoff import backoff
from config.runtime.database import raw_cursor
from config.runtime.deadline import Overdue, ended_within
from config.runtime.logging import get_logger
from config.runtime.metrics import POSTING_RETRIES
from config.runtime.sql import sql_file
from ledger.domain.accounts import AccountRef
from ledger.domain.legs import StoredLegs, Terms
from ledger.domain.states import Status
from ledger.errors import RETRYABLE, Contention, DependencyDown, PostingContended, PostingRefused
from ledger.locks import ALONE_PATIENCE, ROUND_PATIENCE, bound_waits, free_balances, try_lane
from ledger.models import QueuedPosting, Transaction
from ledger.posting.attempts import failure_code, is_over, repeated
from ledger.posting.engine import Settled, isolate, settle
from ledger.posting.intents import Accepted, Intent
from ledger.posting.judge import Judged
from ledger.posting.queue import QUEUE
from ledger.posting.write import write_round
from ledger.queries.accounts import accounts_by_id

ROUND_SIZE_MAX = 500
ONE_BY_ONE_S = 30.0
UNREADABLE_PAUSE = timedelta(minutes=1)
CLAIM = sql_file("ledger/posting", "claim")

log = get_logger()


class _Due(NamedTuple):
    """A row of claim.sql."""

    id: UUID
    client_id: int
    type: str
    amount_minor: Decimal
    debit_account_id: int | None
    credit_account_id: int | None
    terms: str | None
    reference: str | None
    description: str | None
    metadata: str
    effective_at: datetime
    execute_at: datetime | None
    expires_at: datetime | None
    batch_id: UUID | None
    batch_index: int | None
    version: int
    attempts: int
    status: str
    actor: str
    request_id: str
    trace: str

    @property
    def legs(self) -> StoredLegs:
        terms = None if self.terms is None else msgspec.json.decode(self.terms, type=Terms)
        return StoredLegs(self.debit_account_id, self.credit_account_id, int(self.amount_minor), terms)


class LaneTaken(Exception):
    """Another poster works in this lane."""


def post_due(lane: int, *, now: datetime | None = None) -> int:
    """Post the next rows of a lane that are due, at most 500, in one commit; return how many have left the queue.

    What a round cannot do is parted, so that only the culprit waits or fails. `now` decides what is held no more, as
    for `settle`; what is due, the database clock does.

    Raises:
        LaneTaken: another poster is at it.
        DatabaseError: the database is away; nothing is lost and nobody's attempt is counted.
    """
    try:
        return _round(lane, now=now)
    except LaneTaken:
        raise
    except Exception as error:  # noqa: BLE001  (a defect of ours in one row must not hold up all others)
        code = _code_or_raise(error)
        log.warning("posting.parted", lane=lane, error=code)
        return _around_locked(lane, now) if code == Contention.code else _one_by_one(lane, _due(lane), now)


def count_due() -> int:
    """Return how many wait that are due, counted no further than one beyond the queue's size, and show it."""
    with raw_cursor() as cursor:
        QUEUE.count(cursor)
        QUEUE.room(cursor)
    return QUEUE.depth


def is_posting_due() -> bool:
    """Tell whether anything waits that is due."""
    return QueuedPosting.objects.filter(next_attempt_at__lte=Now()).exists()


def _round(
    lane: int, only: Collection[UUID] | None = None, *, patience: str | None = None, now: datetime | None
) -> int:
    return repeated(lambda: _commit(lane, only, patience or ROUND_PATIENCE, now))


def _commit(lane: int, only: Collection[UUID] | None, patience: str, now: datetime | None) -> int:
    with transaction.atomic(durable=True), ended_within(settings.TRANSACTION_TIMEOUT):
        isolate()
        intents = _claim(lane, only)
        if not intents:
            return 0
        settled = settle(intents, patience=patience, now=now)
    settled.report()
    return len(intents)


def _around_locked(lane: int, now: datetime | None) -> int:
    """Post those whose accounts nobody else holds, then the others one by one: most were locked for an instant."""
    rows = _due(lane)
    free = _free(account_id for row in rows for account_id in row.legs.account_ids)
    ready = [row for row in rows if free.issuperset(row.legs.account_ids)]
    others = [row for row in rows if not free.issuperset(row.legs.account_ids)]
    try:
        posted = _round(lane, [row.id for row in ready], now=now) if ready else 0
    except (DatabaseError, Overdue, PostingContended) as error:
        _code_or_raise(error)
        posted, others = 0, [*ready, *others]
    return posted + _one_by_one(lane, others, now, patience=ALONE_PATIENCE)


def _one_by_one(lane: int, rows: Collection[_Due], now: datetime | None, *, patience: str | None = None) -> int:
    """Post row by row; what is not reached in time is due in the next round.

    An account that stays locked is waited for once: the others of its rows have their attempt counted without.
    """
    until, posted, stuck = time.monotonic() + ONE_BY_ONE_S, 0, set[int]()
    for row in rows:
        if time.monotonic() > until or stopping.stopping():
            break
        if not stuck.isdisjoint(row.legs.account_ids):
            posted += _count_attempt(lane, row.id, Contention.code)
            continue
        code = _alone(lane, row.id, patience, now)
        posted += 1 if code is None else _count_attempt(lane, row.id, code)
        if code == Contention.code:
            stuck |= set(row.legs.account_ids) - _free(row.legs.account_ids)
    return posted


def _free(account_ids: Iterable[int]) -> set[int]:
    with transaction.atomic(durable=True):
        return free_balances(account_ids)


def _alone(lane: int, transaction_id: UUID, patience: str | None, now: datetime | None) -> str | None:
    """Post one row; return the code of what kept it from being booked, None if nothing did."""
    try:
        _round(lane, [transaction_id], patience=patience, now=now)
    except LaneTaken:
        raise
    except Exception as error:
        code = _code_or_raise(error)
        if code == PostingRefused.code:
            log.exception("posting.refused", transaction_id=str(transaction_id))
        return code
    return None


def _code_or_raise(error: Exception) -> str:
    """Return the code of what went wrong; with the database away, nothing is anybody's fault."""
    code = failure_code(error)
    if code == DependencyDown.code:
        raise error
    return code


def _claim(lane: int, only: Collection[UUID] | None) -> list[Intent]:
    """Return the next intents, with their lane locked until the end of the database transaction."""
    with raw_cursor() as cursor:
        if not try_lane(cursor, lane):
            raise LaneTaken
    rows = _due(lane, only)
    accounts = accounts_by_id(account_id for row in rows for account_id in row.legs.account_ids)
    return [_intent(row, accounts) for row in rows]


def _due(lane: int, only: Collection[UUID] | None = None) -> list[_Due]:
    chosen = None if only is None else uuids(only)
    parameters = {"lane": lane, "lanes": settings.POSTING_LANES, "only": chosen, "size": ROUND_SIZE_MAX}
    with raw_cursor() as cursor:
        rows = [_Due(*row) for row in cursor.execute(CLAIM, parameters)]
    # (One that is not `processing` has lost its way into the queue; verify_ledger names it.)
    return [row for row in rows if row.status == Status.PROCESSING]


def _count_attempt(lane: int, transaction_id: UUID, code: str) -> int:
    """Let a row wait for its next attempt, or store it as failed when it has had enough; return whether it has."""
    if code in RETRYABLE:
        POSTING_RETRIES.labels(code).inc()
    try:
        settled = _next_attempt(lane, transaction_id, code)
    except LaneTaken:
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, DatabaseError) else None
        if isinstance(cause, pg.LockNotAvailable):
            return 0  # somebody holds the row itself: it stays due, and the others have their turn
        if _code_or_raise(error) == PostingRefused.code:
            # Not even its failure can be written: a later release may, and until then it is in nobody's way.
            log.exception("posting.unreadable", transaction_id=str(transaction_id))
            QueuedPosting.objects.filter(pk=transaction_id).update(next_attempt_at=Now() + UNREADABLE_PAUSE)
        return 0
    if settled is None:
        return 0
    settled.report()
    return 1


def _next_attempt(lane: int, transaction_id: UUID, code: str) -> Settled | None:
    """Count an attempt; return the failure that is stored when it was the last of them."""
    with transaction.atomic(durable=True):
        bound_waits()
        claimed = _claim(lane, [transaction_id])
        if not claimed:
            return None
        (intent,) = claimed
        assert intent.accepted is not None
        attempts = intent.accepted.attempts + 1
        if not is_over(code, attempts):
            Transaction.objects.filter(pk=intent.id, status=Status.PROCESSING).update(attempts=attempts)
            QueuedPosting.objects.filter(pk=intent.id).update(next_attempt_at=Now() + backoff(attempts))
            return None
        return _failed(intent, code, attempts)


def _failed(intent: Intent, code: str, attempts: int) -> Settled:
    judged = [
        Judged(
            intent,
            Status.FAILED,
            code,
            attempts=attempts,
            moved_minor=intent.amount_minor,
            from_status=Status.PROCESSING,
        )
    ]
    return Settled(judged, write_round(judged, posted_at=clock.now()), [])


def _intent(row: _Due, accounts: Mapping[int, AccountRef]) -> Intent:
    legs = row.legs
    return Intent(
        id=row.id,
        client_id=row.client_id,
        type=row.type,
        amount_minor=legs.amount_minor,
        legs=legs.found(accounts),
        terms=legs.terms,
        reference=row.reference,
        description=row.description,
        metadata=msgspec.json.decode(row.metadata),
        effective_at=row.effective_at,
        execute_at=row.execute_at,
        expires_at=row.expires_at,
        batch_id=row.batch_id,
        batch_index=row.batch_index,
        accepted=Accepted(row.version, row.attempts),
        actor=row.actor,
        request_id=row.request_id,
        trace=row.trace,
    )
