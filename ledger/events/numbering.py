"""Give every event its position, once it is committed.

Ids are drawn before the commit, so that who reads by id misses what commits late. Positions are given by one process at
a time to what it sees committed: a reader of positions misses nothing, and sees the events of a key in their order,
since a key's account is locked from before an id is drawn until after the commit.

What has no position is looked for above `low_id`, which follows behind: to an id that was drawn before `fence_xid`
began, once every transaction before that one has ended. One that stays open for long holds it back and costs time only.
"""

from __future__ import annotations

from django.db import transaction

from config.runtime.database import raw_cursor
from config.runtime.sql import sql_file

SIZE = 5_000
IS_BEHIND = "SELECT low_id < coalesce(pg_sequence_last_value('events_outbox_id'), 0) FROM events_numbering"
LOCK = """
SELECT last_position, low_id, fence_id, fence_xid::text
FROM events_numbering
FOR UPDATE SKIP LOCKED
"""
NUMBER = sql_file("ledger/events", "number_events")
# A fence takes three rounds: the id that was drawn last, or up to which a full round has come, then a transaction that
# began after that, then its end.
ADVANCE = """
UPDATE events_numbering
SET last_position = last_position + %(count)s,
    low_id = CASE WHEN %(is_behind)s THEN fence_id ELSE low_id END,
    fence_id = CASE
        WHEN %(is_behind)s OR fence_id IS NULL
        THEN least(%(reached_id)s, coalesce(pg_sequence_last_value('events_outbox_id'), 0))
        ELSE fence_id
    END,
    fence_xid = CASE
        WHEN %(is_behind)s OR fence_id IS NULL THEN NULL
        ELSE coalesce(fence_xid, pg_current_xact_id())
    END
"""


def number_events(size: int = SIZE) -> int:
    """Give up to `size` events their positions in one commit; return how many, none too where another is at it.

    While no event is recorded it writes nothing.
    """
    with raw_cursor() as cursor:
        if not cursor.execute(IS_BEHIND).fetchall()[0][0]:
            return 0
    with transaction.atomic(durable=True), raw_cursor() as cursor:
        state = cursor.execute(LOCK).fetchone()
        if state is None:
            return 0
        last_position, low_id, fence_id, fence_xid = state
        # A statement after the lock: it sees what the round before has numbered.
        found = cursor.execute(NUMBER, {"low_id": low_id, "size": size, "last_position": last_position}).fetchone()
        assert found is not None
        count, last_id, oldest_xid = found
        # What was too much for this round stands above; None where nothing was.
        reached_id = last_id if count == size else None
        has_ended = fence_xid is not None and int(oldest_xid) >= int(fence_xid)
        is_behind = has_ended and (reached_id is None or reached_id >= fence_id)
        cursor.execute(ADVANCE, {"count": count, "is_behind": is_behind, "reached_id": reached_id})
    return int(count)
