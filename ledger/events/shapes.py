"""What an answer shows of an event."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from msgspec import Struct

from config.runtime.clock import MomentText


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
    occurred_at: MomentText
    data: dict[str, Any]


class ClientShape(Struct, frozen=True, kw_only=True):
    """A client, by its public id and its name."""

    id: UUID
    name: str


class DeadLetterShape(Struct, frozen=True, kw_only=True):
    """A message that its consumer could not handle; `attempts` were made before it was given up, `replay_count` since.

    `client` is whose it is, if anybody's; `failed_at` is when it failed last, and `last_error` why it did when it was
    replayed.
    """

    id: UUID
    client: ClientShape | None
    status: str
    consumer: str
    topic: str
    partition: int | None
    offset: str
    key: str
    event_id: str
    error_code: str
    error: str
    attempts: int
    trace: str
    created_at: MomentText
    failed_at: MomentText
    replay_count: int
    last_error: str | None
    resolved_at: MomentText | None
    resolved_by: str | None
    reason: str | None


class DeadLetterDetailShape(DeadLetterShape, frozen=True, kw_only=True):
    """A dead letter with its message. Headers that hold secrets are redacted; a body that is no text is in base64."""

    headers: dict[str, str]
    body: str
    body_encoding: Literal["text", "base64"]
    size_bytes: int


class TallyShape(Struct, frozen=True, kw_only=True):
    """Open letters of one consumer and error code; `replayable` are those with a handler that were not tried enough."""

    consumer: str
    error_code: str
    count: int
    replayable: int


class ReplaysShape(Struct, frozen=True, kw_only=True):
    """What became of dead letters: `refused` counts by its code what kept them from being handled.

    `found` counts them as they stood before. What is `not_reached` was not begun in time; `has_more` says that the
    filter means others beside.
    """

    dry_run: bool
    found: list[TallyShape]
    replayed: int
    refused: dict[str, int]
    not_reached: int
    has_more: bool


class EventsShape(Struct, frozen=True, kw_only=True):
    """Events in the order of their positions; `next_cursor` is always there, to go on with later."""

    data: list[EventShape]
    next_cursor: str
