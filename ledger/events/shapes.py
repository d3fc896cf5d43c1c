"""What an answer shows of an event."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from msgspec import Struct


class EventShape(Struct, frozen=True, kw_only=True):
    """What happened: `data` is the object as its API showed it at that commit; of a transaction also its `entries`.

    `position` is the event's place among all events, of which a client sees its own; `sequence` counts the events of
    its `key`, the account (or object) whose events keep their order, without a gap.
    """

    id: UUID
    type: str
    position: int
    key: UUID
    sequence: int
    occurred_at: str
    data: dict[str, Any]


class EventsShape(Struct, frozen=True, kw_only=True):
    """Events in the order of their positions; `next_cursor` is always there, to go on with later."""

    data: list[EventShape]
    next_cursor: str
