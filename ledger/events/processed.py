"""What has had its effect already: a row for each consumer and event, written in the effect's own commit."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from config.runtime import stopping
from config.runtime.arrays import texts
from config.runtime.database import raw_cursor
from ledger.events.suspects import forget_suspects

# A listener's events are told again only until its cursor has passed them, which is moments; a broker's messages for as
# long as it keeps them. Whoever sends a message again after that meets the idempotency key of its transaction.
KEPT = {"listener": timedelta(days=1), "inbound": timedelta(days=30)}
FORGET_SIZE = 20_000

# In one order, so that two who are told the same wait for one another and no more.
_MARK = """
INSERT INTO events_processed (consumer, event_id)
SELECT %(consumer)s, event_id
FROM unnest(%(event_ids)s::text[]) AS told (event_id)
ORDER BY event_id
ON CONFLICT DO NOTHING
RETURNING event_id
"""
_MARKED = """
SELECT event_id
FROM events_processed
WHERE consumer = %(consumer)s AND event_id = ANY(%(event_ids)s::text[])
"""
_FORGET = """
DELETE FROM events_processed
WHERE ctid = ANY(ARRAY(
    SELECT ctid
    FROM events_processed
    WHERE split_part(consumer, ':', 1) = %(kind)s AND processed_at < clock_timestamp() - %(kept)s
    ORDER BY processed_at
    LIMIT %(size)s
))
"""


def mark_processed(consumer: str, event_ids: Iterable[str]) -> set[str]:
    """Note that these events have their effect in this commit; return those that have not had it before.

    Call inside the database transaction of the effect. Another that has noted one of them is waited for.
    """
    with raw_cursor() as cursor:
        rows = cursor.execute(_MARK, {"consumer": consumer, "event_ids": texts(event_ids)}).fetchall()
    return {row[0] for row in rows}


def processed_among(consumer: str, event_ids: Iterable[str]) -> set[str]:
    """Return those of these events that have had their effect, or are dead letters."""
    with raw_cursor() as cursor:
        rows = cursor.execute(_MARKED, {"consumer": consumer, "event_ids": texts(event_ids)}).fetchall()
    return {row[0] for row in rows}


def forget_processed() -> int:
    """Delete what is too old to be told again, in parts with a commit each; return how many rows."""
    return sum(_forget(kind, kept) for kind, kept in KEPT.items()) + forget_suspects(KEPT["inbound"])


def _forget(kind: str, kept: timedelta) -> int:
    count, found = 0, FORGET_SIZE
    while found == FORGET_SIZE and not stopping.stopping():
        with raw_cursor() as cursor:
            found = cursor.execute(_FORGET, {"kind": kind, "kept": kept, "size": FORGET_SIZE}).rowcount
        count += found
    return count
