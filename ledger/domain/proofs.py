"""What shows that a journal is in the record: its fields, the way from its leaf to a root, the chain's head.

Hashes are hexadecimal; how they are made stands in ledger.domain.merkle.
"""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from config.runtime.clock import MomentText


class FieldShape(Struct, frozen=True):
    """A field as it is hashed, as text."""

    name: str
    value: str


class StepShape(Struct, frozen=True):
    """A hash to put on that side of what one has, for the next hash towards the root."""

    side: str
    hash: str


class HeadShape(Struct, frozen=True):
    """The last block of the record: who keeps its hash elsewhere can tell later whether anything before was changed."""

    number: int
    hash: str


class BlockShape(Struct, frozen=True, kw_only=True):
    """A block of the record: its fields, with the Merkle root of its journals and the hash of the block before."""

    number: int
    sealed_at: MomentText
    fields: list[FieldShape]
    hash: str


class ProofShape(Struct, frozen=True, kw_only=True):
    """A journal as it stands in the books: its fields in the order in which they are hashed, then those of its lines.

    `transaction` is the text of which `transaction_sha256` is the hash. What is not sealed yet has no index, audit path
    and block.
    """

    journal_id: UUID
    sealed: bool
    fields: list[FieldShape]
    transaction: str
    leaf_hash: str
    index: int | None = None
    audit_path: list[StepShape] | None = None
    block: BlockShape | None = None


class ProofsShape(Struct, frozen=True, kw_only=True):
    """The proofs of a transaction's journals, oldest first; `head` is null while nothing at all is sealed."""

    data: list[ProofShape]
    head: HeadShape | None
    next_cursor: str | None
    prev_cursor: str | None
