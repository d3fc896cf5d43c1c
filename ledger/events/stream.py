"""The events as their followers get them: in the order of their positions, each follower from where it has come to.

A follower is a listener or a transport. Its events are shared out by key among `LANES` lanes, each of which one process
has at a time (`ledger.events.lanes`), so that the events of a key keep their order however many processes there are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from config.runtime.arrays import numbers
from config.runtime.database import raw_cursor
from config.runtime.sql import sql_file

LANES = 16
WINDOW_SIZE = 1_000
# What the column of a follower's name takes (followers.sql).
FOLLOWER_LENGTH_MAX = 64

_BEGIN = """
INSERT INTO events_cursor (follower, lane, position)
SELECT %(follower)s, lane, dropped_until
FROM events_numbering, generate_series(0, %(lanes)s - 1) AS lane
ON CONFLICT DO NOTHING
"""
_SKIP = """
UPDATE events_cursor
SET position = dropped_until
FROM events_numbering
WHERE follower = %(follower)s AND lane = ANY(%(lanes)s::smallint[]) AND position < dropped_until
"""
_CURSORS = """
SELECT (SELECT last_position FROM events_numbering), lane, position
FROM events_cursor
WHERE follower = %(follower)s AND lane = ANY(%(lanes)s::smallint[])
"""
_WINDOW = sql_file("ledger/events", "window")
_ADVANCE = """
UPDATE events_cursor c
SET position = %(high)s
FROM unnest(%(lanes)s::smallint[], %(positions)s::bigint[]) AS seen (lane, position)
WHERE c.follower = %(follower)s AND c.lane = seen.lane AND c.position = seen.position
"""
_LOAD = """
SELECT p.position, o.event_id, o.client_id, c.public_id, p.type, p.key, p.sequence, o.occurred_at, o.data, o.trace
FROM events_position p
JOIN events_outboxevent o ON o.occurred_at = p.occurred_at AND o.id = p.outbox_id
LEFT JOIN clients_client c ON c.id = o.client_id
WHERE p.position = %(position)s
"""


class LaneLost(Exception):
    """Another process has moved a lane on meanwhile: what was read of it here is not ours to do."""


class Event(NamedTuple):
    """What happened. `data` is JSON text as it was recorded, `trace` a W3C traceparent or empty.

    `waits` where an earlier event of its key is parked for the follower that asked.
    """

    position: int
    id: UUID
    client_id: int
    client: UUID | None
    type: str
    key: UUID
    sequence: int
    occurred_at: datetime
    data: str
    trace: str
    waits: bool = False


class Window(NamedTuple):
    """The next events of some lanes; `cursors` says where each of these lanes stood, `until` how far they reach."""

    events: list[Event]
    cursors: Mapping[int, int]
    until: int

    @property
    def is_full(self) -> bool:
        """Tell whether there may be more to read at once."""
        return self.until - min(self.cursors.values()) >= WINDOW_SIZE


def listener_name(name: str) -> str:
    """Return the name as a follower of a listener of config/subscriptions.py."""
    return f"listener:{name}"


def begin(follower: str) -> None:
    """Have a follower begin, where it is new, with the oldest event that is kept."""
    with raw_cursor() as cursor:
        cursor.execute(_BEGIN, {"follower": follower, "lanes": LANES})


def pass_over(follower: str, lanes: Collection[int]) -> int:
    """Move lanes on that stand before what is not kept any more; return how many did."""
    with raw_cursor() as cursor:
        return cursor.execute(_SKIP, {"follower": follower, "lanes": numbers(lanes)}).rowcount


def read_window(follower: str, lanes: Collection[int]) -> Window | None:
    """Return the next events of a follower in these lanes, at most `WINDOW_SIZE`; None when there are none."""
    with raw_cursor() as cursor:
        rows = cursor.execute(_CURSORS, {"follower": follower, "lanes": numbers(lanes)}).fetchall()
        last = rows[0][0] if rows else 0
        cursors = {lane: position for _, lane, position in rows if position < last}
        if not cursors:
            return None
        low = min(cursors.values())
        high = min(low + WINDOW_SIZE, last)
        # A lane that is further on than this window reaches stays as it is.
        cursors = {lane: position for lane, position in cursors.items() if position < high}
        asked = {"follower": follower, "low": low, "high": high} | _arrays(cursors)
        events = [Event(*row) for row in cursor.execute(_WINDOW, asked)]
    return Window(events, cursors, high)


def advance(follower: str, window: Window) -> None:
    """Note that a follower is through with a window.

    Raises:
        LaneLost: another process was first. Whatever belongs to it must be rolled back.
    """
    with raw_cursor() as cursor:
        cursor.execute(_ADVANCE, {"follower": follower, "high": window.until} | _arrays(window.cursors))
        if cursor.rowcount != len(window.cursors):
            raise LaneLost(follower)


def load_event(position: int) -> Event | None:
    """Return the event at a position, None if it is not kept any more."""
    with raw_cursor() as cursor:
        row = cursor.execute(_LOAD, {"position": position}).fetchone()
    return None if row is None else Event(*row)


def _arrays(cursors: Mapping[int, int]) -> dict[str, str]:
    return {"lanes": numbers(cursors.keys()), "positions": numbers(cursors.values())}
