"""What came and what changed of a client's transactions since a position, for who keeps a copy of them."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import msgspec

from ledger.domain.shapes import AUTOMATIC, TransactionShape
from ledger.events.feed import events_after
from ledger.events.shapes import EventShape
from ledger.events.types import EventType
from ledger.queries.transactions import shown_transactions

TYPES = frozenset(one.value for one in EventType if one.startswith("transaction."))
# It is told of with its first outcome; a second one has a retry between them, which counts too.
FIRST_VERSIONS = (1, 2)


class Synced(NamedTuple):
    """Transactions as they are now, and the position to go on after."""

    added: list[TransactionShape]
    modified: list[TransactionShape]
    until: int
    has_more: bool


class _Told(msgspec.Struct, frozen=True):
    """What an event's data says of its transaction, as far as it matters here."""

    id: UUID
    version: int
    capture: str
    reverses: UUID | None


_decode = msgspec.json.Decoder(_Told).decode


def transactions_since(client_id: int, after: int | None, *, limit: int) -> Synced:
    """Return what happened to transactions after a position, or since the oldest event that is kept.

    Raises:
        CursorExpired: some events after the position are not kept any more.
    """
    events = events_after(client_id, after, types=TYPES, limit=limit)
    added, changed = dict[UUID, None](), dict[UUID, None]()
    for event in events.rows:
        told = _decode(event.data)  # type: ignore[arg-type]  # JSON as it was recorded
        (added if _is_first(event, told) else changed)[told.id] = None
        if told.reverses is not None:
            # A part that is taken back changes the original's sums, and no event of its own tells that.
            changed[told.reverses] = None
    shown = shown_transactions([*added, *changed])
    return Synced(
        [shown[one] for one in added],
        [shown[one] for one in changed if one not in added],
        events.until,
        has_more=events.until != after and bool(events_after(client_id, events.until, types=TYPES, limit=1).rows),
    )


def _is_first(event: EventShape, told: _Told) -> bool:
    if told.version not in FIRST_VERSIONS:
        return False
    if event.type == EventType.TRANSACTION_COMPLETED:
        return told.capture == AUTOMATIC
    return event.type in (EventType.TRANSACTION_PENDING, EventType.TRANSACTION_FAILED)
