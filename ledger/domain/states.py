"""The states of a transaction and the moves between them, as data; the database guards the same table."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a transaction stands. `executing` appears in its history only."""

    PROCESSING = "processing"
    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    VOIDED = "voided"
    EXPIRED = "expired"
    REVERSED = "reversed"


EXECUTING = "executing"

MOVES: dict[Status, frozenset[Status]] = {
    Status.PROCESSING: frozenset({Status.PENDING, Status.COMPLETED, Status.FAILED}),
    Status.FAILED: frozenset({Status.PROCESSING}),
    # It stays where it is where a capture leaves something held, or a reversal something booked.
    Status.PENDING: frozenset({Status.PENDING, Status.COMPLETED, Status.VOIDED, Status.EXPIRED}),
    Status.COMPLETED: frozenset({Status.COMPLETED, Status.REVERSED}),
    Status.VOIDED: frozenset(),
    Status.EXPIRED: frozenset(),
    Status.REVERSED: frozenset(),
}


class JournalKind(StrEnum):
    """What a journal does to the money of its transaction."""

    POST = "post"
    HOLD = "hold"
    CAPTURE = "capture"
    VOID = "void"
    EXPIRE = "expire"
    REVERSAL = "reversal"


class Layer(StrEnum):
    """Which of an account's two sums an entry belongs to."""

    POSTED = "posted"
    HELD = "held"
