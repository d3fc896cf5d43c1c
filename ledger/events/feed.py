"""Read events in the order of their positions: a reader that goes on from where it was misses none."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import msgspec

from config.runtime.arrays import texts
from config.runtime.clock import rfc3339
from config.runtime.database import raw_cursor
from config.runtime.sql import sql_file
from ledger.events.errors import CursorExpired
from ledger.events.shapes import EventShape

# Of some types only, so many events are looked at: a short or empty page may have others behind it.
WINDOW = 10_000
BOUNDS = sql_file("ledger/events", "feed_bounds")
FEED = sql_file("ledger/events", "feed")


class Events(NamedTuple):
    """Events, and the position to go on after."""

    rows: list[EventShape]
    until: int


def events_after(client_id: int, after: int | None, *, types: Collection[str] | None, limit: int) -> Events:
    """Return a client's next events after a position, or the oldest that are kept; of these types, if any are named.

    Raises:
        CursorExpired: some events after the position are not kept any more.
    """
    asked = {"client_id": client_id, "after": after or 0, "limit": limit}
    with raw_cursor() as cursor:
        window = limit if types is None else WINDOW
        dropped_until, last = cursor.execute(BOUNDS, asked | {"window": window}).fetchall()[0]
        if after is not None and after < dropped_until:
            raise CursorExpired
        if last is None:
            return Events([], after or 0)
        # What is given a position meanwhile lies behind `last`.
        named = None if types is None else texts(types)
        rows = cursor.execute(FEED, asked | {"until": last, "types": named}).fetchall()
    shapes = [
        EventShape(
            id=event_id,
            type=event_type,
            position=position,
            key=key,
            sequence=sequence,
            occurred_at=rfc3339(occurred_at),
            data=msgspec.Raw(data.encode()),  # type: ignore[arg-type]  # goes out as it was recorded
        )
        for event_id, event_type, position, key, sequence, occurred_at, data in rows
    ]
    return Events(shapes, shapes[-1].position if len(shapes) == limit else last)
