"""Proofs that journals are in the record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from config.runtime.arrays import uuids
from config.runtime.clock import rfc3339
from config.runtime.database import raw_cursor
from config.runtime.sql import sql_file
from ledger.domain.merkle import BLOCK_FIELDS, Block, audit_path, block_fields, leaf_hash, unpacked
from ledger.domain.proofs import BlockShape, FieldShape, HeadShape, ProofShape, StepShape
from ledger.models import Journal, Transaction
from ledger.queries.leaves import ENTRY_FIELDS, JOURNAL_FIELDS, LEAVES

PROOFS = sql_file("ledger/queries", "proofs").replace("{leaves}", LEAVES)
HEAD = "SELECT number, encode(hash, 'hex') FROM ledger_block ORDER BY number DESC LIMIT 1"
HASH_SIZE_BYTES = 32


def journals_of(row: Transaction) -> QuerySet[Journal]:
    """Return what is booked of a transaction; `id` orders it. Captures are found by their receipt alone."""
    return Journal.objects.filter(external_ref=row.receipt_code, transaction=row)


def head_of_record() -> HeadShape | None:
    """Return the last block of the record."""
    with raw_cursor() as cursor:
        found = cursor.execute(HEAD).fetchone()
    return None if found is None else HeadShape(*found)


def proofs_of(journals: Iterable[Journal]) -> list[ProofShape]:
    """Return the proofs of journals, in the order of their ids. Each reads the hashes of its block."""
    with raw_cursor() as cursor:
        rows = cursor.execute(PROOFS, {"journal_id": uuids([journal.pk for journal in journals])}).fetchall()
    return [_proof(*row) for row in rows]


def _proof(
    journal_id: UUID, data: bytes, asked: str, index: int | None, hashes: bytes | None, *block: Any
) -> ProofShape:
    values = unpacked(data)
    line_count = (len(values) - len(JOURNAL_FIELDS)) // len(ENTRY_FIELDS)
    return ProofShape(
        journal_id=journal_id,
        sealed=index is not None,
        fields=_fields(JOURNAL_FIELDS + ENTRY_FIELDS * line_count, values),
        transaction=asked,
        leaf_hash=leaf_hash(data).hex(),
        index=index,
        audit_path=None if index is None or hashes is None else _audit_path(hashes, index),
        block=None if index is None else _block_shape(*block),
    )


def _audit_path(hashes: bytes, index: int) -> list[StepShape]:
    leaves = [hashes[at : at + HASH_SIZE_BYTES] for at in range(0, len(hashes), HASH_SIZE_BYTES)]
    return [StepShape(step.side, step.hash.hex()) for step in audit_path(leaves, index)]


def _block_shape(*values: Any) -> BlockShape:
    block, block_hash = Block(*values[:-1]), values[-1]
    return BlockShape(
        number=block.number,
        sealed_at=rfc3339(block.sealed_at),
        fields=_fields(BLOCK_FIELDS, block_fields(block)),
        hash=block_hash.hex(),
    )


def _fields(names: Sequence[str], values: Sequence[str]) -> list[FieldShape]:
    return [FieldShape(name, value) for name, value in zip(names, values, strict=True)]
