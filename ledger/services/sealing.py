"""Seal what is booked: hash journals, in the order of the positions of their events, into blocks that form a chain."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import DatabaseError, transaction

from config.runtime import metrics
from config.runtime.arrays import blobs, uuids
from config.runtime.database import raw_cursor, release_connections
from config.runtime.logging import get_logger
from config.runtime.sql import sql_file
from ledger.domain.merkle import NO_HASH, Block, block_hash, merkle_root
from ledger.locks import Cursor
from ledger.queries.leaves import LEAVES

# Events of a round: more than are recorded between two.
SIZE = 10_000
PAUSE_S = 1.0
IS_BEHIND = "SELECT s.last_position < n.last_position FROM ledger_sealing s, events_numbering n"
LOCK = "SELECT last_position, clock_timestamp() FROM ledger_sealing FOR UPDATE SKIP LOCKED"
UNTIL = """
SELECT max(position)
FROM (
    SELECT position
    FROM events_position
    WHERE position > %(after)s
    ORDER BY position
    LIMIT %(size)s
) next
"""
NEXT_LEAVES = sql_file("ledger/services", "next_leaves").replace("{leaves}", LEAVES)
# Journal by journal by their indexes, as the guards do: the plan is made once a connection and serves all sizes.
ONE_BY_ONE = """
SELECT set_config(name, 'off', TRUE)
FROM unnest('{enable_seqscan,enable_hashjoin,enable_mergejoin}'::text[]) AS name
"""
LAST_BLOCK = "SELECT number, last_position, hash FROM ledger_block ORDER BY number DESC LIMIT 1"
WRITE_BLOCK = """
INSERT INTO ledger_block (
    number, first_position, last_position, journal_count, merkle_root, previous_hash, sealed_at, hash
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
WRITE_LEAVES = """
INSERT INTO ledger_leaf (journal_id, block_number, index, hash)
SELECT journal_id, %(number)s, place - 1, hash
FROM unnest(%(journal_id)s::uuid[], %(hash)s::bytea[]) WITH ORDINALITY AS leaf (journal_id, hash, place)
"""
ADVANCE = "UPDATE ledger_sealing SET last_position = %s"

log = get_logger()


class Sealed(NamedTuple):
    """A block that was written, and its hash."""

    block: Block
    hash: bytes


def seal(stop: threading.Event) -> None:
    """Write a block a second, if there is something to seal, until `stop`; survive the database being away."""
    log.info("sealer.ready")
    while not stop.is_set():
        try:
            seal_block()
        except DatabaseError as error:
            log.warning("sealer.database_away", error=str(error))
        finally:
            release_connections()
        stop.wait(PAUSE_S)


def seal_block(size: int = SIZE) -> Sealed | None:
    """Seal what the next `size` events tell, in one commit; return the block.

    None if they told nothing that was booked, if there are none, or where another is at it. While no event gets its
    position it writes nothing.
    """
    with raw_cursor() as cursor:
        if not cursor.execute(IS_BEHIND).fetchall()[0][0]:
            return None
    with transaction.atomic(durable=True), raw_cursor() as cursor:
        state = cursor.execute(LOCK).fetchone()
        if state is None:
            return None
        after, sealed_at = state
        # Statements after the lock: they see what the round before has sealed.
        until = cursor.execute(UNTIL, {"after": after, "size": size}).fetchall()[0][0]
        if until is None:
            return None
        cursor.execute(ONE_BY_ONE)
        leaves = cursor.execute(NEXT_LEAVES, {"after": after, "until": until}).fetchall()
        sealed = _write(cursor, leaves, until=until, sealed_at=sealed_at) if leaves else None
        cursor.execute(ADVANCE, [until])
    if sealed is not None:
        _tell(sealed)
    return sealed


def _write(cursor: Cursor, leaves: list[tuple[UUID, bytes]], *, until: int, sealed_at: datetime) -> Sealed:
    last = cursor.execute(LAST_BLOCK).fetchone()
    number, last_position, previous_hash = last or (0, 0, NO_HASH)
    root = merkle_root([leaf for _, leaf in leaves])
    block = Block(number + 1, last_position + 1, until, len(leaves), root, previous_hash, sealed_at)
    sealed = Sealed(block, block_hash(block))
    cursor.execute(WRITE_BLOCK, [*block, sealed.hash])
    columns = {"journal_id": uuids([one for one, _ in leaves]), "hash": blobs([leaf for _, leaf in leaves])}
    cursor.execute(WRITE_LEAVES, {"number": block.number} | columns)
    return sealed


def _tell(sealed: Sealed) -> None:
    """Log the hash of the chain's head: who keeps it elsewhere can tell later whether anything before was changed."""
    block = sealed.block
    metrics.RECORD_JOURNALS.inc(block.journal_count)
    metrics.RECORD_BLOCK.set(block.number)
    log.info("record.sealed", block=block.number, hash=sealed.hash.hex(), journals=block.journal_count)
