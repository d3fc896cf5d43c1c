"""Tell lists, the status tracker, logs and metrics what a round did, after its commit."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from config.runtime.clock import now
from config.runtime.ids import moment_of
from config.runtime.lifecycle import Step, lifecycle
from config.runtime.metrics import TRANSACTIONS, TRANSACTIONS_DURATION, TRANSACTIONS_FAILED
from ledger.domain.shapes import TransactionShape
from ledger.lists import bump, written
from ledger.posting.intents import Intent
from ledger.posting.judge import Judged
from ledger.status import announce, status_of


def report_outcomes(judged: Sequence[Judged], shapes: Sequence[TransactionShape]) -> None:
    """Count and log the outcomes of a committed round: not what is done later to transactions that stand."""
    ended = now()
    durations_ms = [(ended - _due_at(one.intent)).total_seconds() * 1000 for one in judged]
    for (kind, status), count in Counter((shape.type, shape.status) for shape in shapes).items():
        TRANSACTIONS.labels(kind, status).inc(count)
    for code, count in Counter(shape.error.code for shape in shapes if shape.error is not None).items():
        TRANSACTIONS_FAILED.labels(code).inc(count)
    histograms = {kind: TRANSACTIONS_DURATION.labels(kind) for kind in {shape.type for shape in shapes}}
    for shape, duration_ms in zip(shapes, durations_ms, strict=True):
        histograms[shape.type].observe(duration_ms / 1000)
    rows = list(zip(judged, shapes, durations_ms, strict=True))
    lifecycle("transaction.executing", (_step(one, shape) for one, shape, _ in rows))
    lifecycle(
        "transaction.success",
        (
            _step(one, shape, journal=str(one.journal_id), duration_ms=round(duration_ms, 3))
            for one, shape, duration_ms in rows
            if shape.error is None
        ),
    )
    lifecycle(
        "transaction.error",
        (
            _step(one, shape, error=shape.error.code, duration_ms=round(duration_ms, 3))
            for one, shape, duration_ms in rows
            if shape.error is not None
        ),
    )


def report_statuses(judged: Sequence[Judged], shapes: Sequence[TransactionShape], *, written_at: float) -> None:
    """Let statuses be told without the database, and lists not be shown as they were.

    `written_at` is a `time.monotonic()` from before the commit.
    """
    both = list(zip(judged, shapes, strict=True))
    # First: who is told of a status finds the list no older.
    bump(written(one.intent.client_id, shape, _nobodys(one.intent)) for one, shape in both)
    announce([(one.intent.client_id, status_of(shape)) for one, shape in both], begun_at=written_at)


def _nobodys(intent: Intent) -> list[UUID]:
    return [account.public_id for account, _ in intent.legs if account.user_id is None]


def _due_at(intent: Intent) -> datetime:
    asked_at = moment_of(intent.id)
    return asked_at if intent.execute_at is None else max(asked_at, intent.execute_at)


def _step(
    judged: Judged, shape: TransactionShape, *, journal: str = "", error: str = "", duration_ms: float | None = None
) -> Step:
    return Step(
        receipt=shape.receipt_code,
        request_id=judged.intent.request_id,
        type=shape.type,
        amount=shape.amount,
        currency=shape.currency,
        # A failed one has no lines: then those that it named.
        accounts=len({line.account.id for line in judged.lines} or judged.intent.accounts),
        worker=threading.current_thread().name,
        journal=journal,
        duration_ms=duration_ms,
        error=error,
    )
