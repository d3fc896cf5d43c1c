"""How many items of batches may wait."""

from __future__ import annotations

from config.runtime.batching import QueueFull
from config.runtime.database import raw_cursor
from ledger.queries.batches import waiting_items

QUEUE_SIZE = 100_000
FULL_RETRY_AFTER_S = 10
# (The number says "room" in ASCII; 0 is the posting queue's.)
LOCK_ROOM = "SELECT pg_advisory_xact_lock(1919905645, 1)"


def check_room(joining: int) -> None:
    """Refuse what would make the queue longer than it may be; they are counted one after the other.

    Call inside the database transaction in which they join.

    Raises:
        QueueFull
    """
    if joining:
        with raw_cursor() as cursor:
            cursor.execute(LOCK_ROOM)
        if waiting_items() + joining > QUEUE_SIZE:
            raise QueueFull("The queue of batches is full.", retry_after_s=FULL_RETRY_AFTER_S)
