"""What a batch promises, where it stands, and what is shown of it."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from config.runtime.clock import MomentText
from config.runtime.errors import Kind
from ledger.domain.shapes import TransactionShape


class BatchMode(StrEnum):
    """Whether items stand alone or succeed and fail together."""

    PARTIAL = "partial"
    ATOMIC = "atomic"


class BatchStatus(StrEnum):
    """`failed` is an atomic batch that was refused: nothing of it was applied."""

    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class BatchProgress(Struct, frozen=True, kw_only=True):
    """How many items there are, and how many of them have no outcome yet."""

    total: int
    waiting: int


class BatchCounts(BatchProgress, frozen=True, kw_only=True):
    """Where the items stand now.

    `completed` are those that were booked, `failed` those that were refused or stored as failed, `processing` those
    whose transaction is on its way, as after a retry.
    """

    processing: int
    completed: int
    failed: int


class BatchShape(Struct, frozen=True, kw_only=True):
    """A batch in a list."""

    id: UUID
    mode: str
    status: str
    counts: BatchProgress
    created_at: MomentText
    completed_at: MomentText | None


class BatchDetailShape(BatchShape, frozen=True, kw_only=True):
    """A batch, and where its items stand."""

    counts: BatchCounts


class PlaceShape(Struct, frozen=True):
    """One place of a batch that is wrong, as a JSON pointer into its body."""

    pointer: str
    code: str
    detail: str


class ItemRefusal(Struct, frozen=True, kw_only=True):
    """Why an item has no booking: as it is stored with the item."""

    kind: Kind
    code: str
    detail: str
    retryable: bool = False
    errors: list[PlaceShape] = []


class ItemResult(Struct, frozen=True, kw_only=True):
    """What became of an item: its transaction, which may have failed, or a refusal; neither while it waits."""

    index: int
    transaction: TransactionShape | None = None
    refusal: ItemRefusal | None = None
    replayed: bool = False

    @property
    def is_waiting(self) -> bool:
        """Whether it has no outcome yet."""
        return self.transaction is None and self.refusal is None
