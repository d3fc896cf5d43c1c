"""Messages of which a consumer may have died: given again by their broker, tried, and not heard of since.

One that kills its process takes those along that were tried with it. So what a broker gives again is noted before it is
tried, in a commit for all of a batch; whoever finds one noted already tries it alone. What comes for the first time,
as almost everything does, costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from config.runtime.arrays import texts
from config.runtime.database import raw_cursor

# In one order, so that two who were given the same wait for one another and no more.
_NOTE = """
INSERT INTO events_suspect (consumer, event_id)
SELECT %(consumer)s, event_id
FROM unnest(%(event_ids)s::text[]) AS given (event_id)
ORDER BY event_id
ON CONFLICT DO NOTHING
RETURNING event_id
"""
_CLEAR = "DELETE FROM events_suspect WHERE consumer = %(consumer)s AND event_id = ANY(%(event_ids)s::text[])"
_FORGET = "DELETE FROM events_suspect WHERE tried_at < clock_timestamp() - %(kept)s"


def note_suspects(consumer: str, event_ids: Collection[str]) -> set[str]:
    """Note, before they are tried, messages that were given again; return those that were not noted before.

    Call outside of a database transaction: it is to stand whatever becomes of them.
    """
    with raw_cursor() as cursor:
        rows = cursor.execute(_NOTE, {"consumer": consumer, "event_ids": texts(event_ids)}).fetchall()
    return {row[0] for row in rows}


def clear_suspects(consumer: str, event_ids: Collection[str]) -> None:
    """Strike messages off again, in the commit that tells what became of them."""
    with raw_cursor() as cursor:
        cursor.execute(_CLEAR, {"consumer": consumer, "event_ids": texts(event_ids)})


def forget_suspects(kept: timedelta) -> int:
    """Delete those that nobody has given again for so long; return how many."""
    with raw_cursor() as cursor:
        return cursor.execute(_FORGET, {"kept": kept}).rowcount
