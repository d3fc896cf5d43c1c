"""Events of a test's own, and who follows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from config.runtime.database import raw_cursor
from ledger.clients.models import AuditEntry
from ledger.events.following import Follower
from ledger.events.listeners import ListenerFollower
from ledger.events.numbering import number_events
from ledger.events.outbox import Happened, record_events
from ledger.events.stream import LANES, Event, begin, read_window
from ledger.events.transports.base import Message, TransportAway

ALL = range(LANES)
FROM_NOW = """
UPDATE events_cursor SET position = (SELECT last_position FROM events_numbering) WHERE follower = %(follower)s
"""
DUE = "UPDATE events_parked SET next_attempt_at = clock_timestamp() WHERE follower = %(follower)s"
PARKED = "SELECT key, attempts, error_code FROM events_parked WHERE follower = %(follower)s ORDER BY position"
CURSORS = "SELECT min(position), max(position) FROM events_cursor WHERE follower = %(follower)s"


def execute(statement: str, follower: str) -> list[Any]:
    with raw_cursor() as cursor:
        cursor.execute(statement, {"follower": follower})
        return cursor.fetchall() if cursor.description else []


def record(client_id: int, *keys: UUID) -> None:
    """Record an event for each key, one after the other, and number them."""
    with raw_cursor() as cursor:
        record_events(
            cursor, [Happened(client_id, "account.opened", key, f'{{"n": {n}}}') for n, key in enumerate(keys)]
        )
    numbered()


def numbered() -> None:
    while number_events():
        pass


def begun(follower: Follower) -> None:
    """Have a follower begin with what happens from now on."""
    numbered()
    begin(follower.name)
    execute(FROM_NOW, follower.name)


def caught_up(follower: Follower) -> None:
    """Have a follower take what there is, in all lanes, and try once more what is parked and due."""
    follower.take_parked(ALL)
    while (window := read_window(follower.name, ALL)) is not None:
        follower.take(window)
    follower.take_parked(ALL)


def parked(follower: Follower) -> list[tuple[UUID, int, str]]:
    """Return what is parked, in order: the key, the attempts, and the code of the last error."""
    return execute(PARKED, follower.name)


@dataclass
class Diary:
    """A listener that writes down what it hears, and cannot bear some keys and types; of some it does more."""

    name: str = field(default_factory=lambda: f"listener:{uuid4().hex}")
    cannot_bear: set[UUID | str] = field(default_factory=set)
    afterwards: dict[UUID, Callable[[], None]] = field(default_factory=dict)
    error: Exception = field(default_factory=lambda: RuntimeError("It is too much."))
    calls: list[int] = field(default_factory=list)

    def __call__(self, events: Sequence[Event]) -> None:
        self.calls.append(len(events))
        for event in events:
            AuditEntry.objects.create(
                actor=self.name,
                action="heard",
                object_type="event",
                object_id=str(event.key),
                detail={"sequence": event.sequence},
            )
            if not self.cannot_bear.isdisjoint({event.key, event.type}):
                raise self.error
            if event.key in self.afterwards:
                self.afterwards[event.key]()

    @property
    def follower(self) -> ListenerFollower:
        return ListenerFollower(self.name, self)

    def heard(self, key: UUID) -> list[int]:
        """Return the sequences of a key's events that it has written down, in its order."""
        rows = AuditEntry.objects.filter(actor=self.name, object_id=str(key)).order_by("id")
        return [row.detail["sequence"] for row in rows]


@dataclass
class Postbox:
    """A transport whose broker may be away, and refuses some keys."""

    name: str = field(default_factory=lambda: uuid4().hex[:8])
    is_away: bool = False
    refused: set[UUID] = field(default_factory=set)
    published: list[Message] = field(default_factory=list)

    def publish(self, messages: Sequence[Message]) -> dict[int, str]:
        if self.is_away:
            raise TransportAway("Nobody is there.")
        refused = {n: "too large" for n, one in enumerate(messages) if one.key in map(str, self.refused)}
        self.published += [one for n, one in enumerate(messages) if n not in refused]
        return refused

    def close(self) -> None:
        pass
