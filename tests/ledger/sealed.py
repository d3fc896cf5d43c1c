"""Bring the record to where the books are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from config.runtime.database import raw_cursor
from config.runtime.sql import sql_file
from ledger.queries.leaves import LEAVES
from ledger.services.sealing import SIZE, Sealed, seal_block
from tests.ledger.hostile import BY_HAND
from tests.ledger.numbered import at_rest

WATERMARKS = "SELECT s.last_position, n.last_position FROM ledger_sealing s, events_numbering n"
RECORD_CHECKS = ("journals_sealed", "leaves_kept", "blocks_rooted", "blocks_chained")


def sealed(size: int = SIZE) -> list[Sealed]:
    """Number and seal all that is committed; return the blocks, each of at most so many events."""
    at_rest()
    blocks = []
    while True:
        block = seal_block(size)
        blocks += [block] if block else []
        if not is_behind():
            return blocks


def is_behind() -> bool:
    sealer, numbering = rows(WATERMARKS)[0]
    return bool(sealer < numbering)


def rows(query: str, *parameters: Any) -> list[Any]:
    with raw_cursor() as cursor:
        return cursor.execute(query, parameters).fetchall()


def leaves_of(journal_ids: Iterable[UUID]) -> list[tuple[UUID, int, int]]:
    """Return the places of journals in the record, in its order."""
    return rows(
        "SELECT journal_id, block_number, index FROM ledger_leaf WHERE journal_id = ANY(%s) ORDER BY 2, 3",
        list(journal_ids),
    )


def offences() -> dict[str, list[Any]]:
    """Return what is wrong with the record: nothing, one hopes.

    What tests have booked by SQL of their own has no event, so that nobody seals it.
    """
    queries = {name: sql_file("ledger/queries", f"invariants/{name}") for name in RECORD_CHECKS}
    found = {name: rows(query.replace("{leaves}", LEAVES)) for name, query in queries.items()}
    found["journals_sealed"] = [row for row in found["journals_sealed"] if not str(row[1]).startswith(BY_HAND)]
    return {name: offending for name, offending in found.items() if offending}
