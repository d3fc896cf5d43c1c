"""How many items of batches may wait."""

from __future__ import annotations

import time

from config.runtime.batching import QueueFull
from config.runtime.database import raw_cursor
from ledger.posting.queue import Drain
from ledger.queries.batches import waiting_items

QUEUE_SIZE = 100_000
# How many items have ever had their outcome.
ITEMS_DONE = "SELECT pg_stat_get_tuples_updated('ledger_batchitem'::regclass)"
# (The number says "room" in ASCII; 0 is the posting queue's.)
LOCK_ROOM = "SELECT pg_advisory_xact_lock(1919905645, 1)"
_drain = Drain()  # under this lock


def check_room(joining: int) -> None:
    """Refuse what would make the queue longer than it may be; they are counted one after the other.

    Call inside the database transaction in which they join.

    Raises:
        QueueFull
    """
    if joining:
        with raw_cursor() as cursor:
            cursor.execute(LOCK_ROOM)
            _drain.note(cursor.execute(ITEMS_DONE).fetchall()[0][0], at=time.monotonic())
        if waiting_items() + joining > QUEUE_SIZE:
            raise QueueFull("The queue of batches is full.", retry_after_s=_drain.retry_after_s(QUEUE_SIZE))
