"""What is told of where a transaction stands, and when it was so."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

from config.runtime.clock import MomentText, rfc3339
from ledger.domain.receipts import receipt_code
from ledger.domain.shapes import FailureShape, TransactionShape
from ledger.domain.states import MOVES
from ledger.errors import failure_shape, pointer_in

FINAL = frozenset(status.value for status, moves in MOVES.items() if not moves)

# Of which client, and which transaction: what belongs to another client is never found, wherever it is looked for.
Key = tuple[int, UUID]


class StatusShape(Struct, frozen=True, kw_only=True):
    """Where a transaction stands; `version` counts the moves of its status."""

    id: UUID
    receipt_code: str
    status: str
    version: int
    error: FailureShape | None
    created_at: MomentText
    completed_at: MomentText | None

    @property
    def is_final(self) -> bool:
        """Whether nothing moves it any more."""
        return self.status in FINAL


class Seen(NamedTuple):
    """A status, and a moment of `time.monotonic()` after which it was true, if only for an instant."""

    shape: StatusShape
    since: float


class StatusRow(NamedTuple):
    """What is read of a stored transaction."""

    status: str
    version: int
    error_code: str | None
    error_reason: str | None
    attempts: int
    created_at: datetime
    completed_at: datetime | None


def status_of(shape: TransactionShape) -> StatusShape:
    """Return where a transaction stands, of what its API shows."""
    return StatusShape(
        id=shape.id,
        receipt_code=shape.receipt_code,
        status=shape.status,
        version=shape.version,
        error=shape.error,
        created_at=shape.created_at,
        completed_at=shape.completed_at,
    )


def status_of_row(transaction_id: UUID, row: StatusRow) -> StatusShape:
    """Return where a stored transaction stands."""
    return StatusShape(
        id=transaction_id,
        receipt_code=receipt_code(transaction_id),
        status=row.status,
        version=row.version,
        error=None
        if row.error_code is None
        else failure_shape(row.error_code, row.attempts, pointer_in(row.error_reason)),
        created_at=rfc3339(row.created_at),
        completed_at=None if row.completed_at is None else rfc3339(row.completed_at),
    )
