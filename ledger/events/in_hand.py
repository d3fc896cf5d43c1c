"""A message that has come, whose it is, and what is kept of it when it cannot be handled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from config.runtime.errors import DomainError
from config.runtime.tracing import well_formed_traceparent
from ledger.events.dead_letters import Letter
from ledger.events.failures import failure_code, failure_text
from ledger.events.inbound import Inbound, attributes_of, read_message
from ledger.events.transports.base import Received


class Binding(NamedTuple):
    """Whose messages of a topic these are, and the name of their source, which makes their ids keys."""

    topic: str
    client_id: int
    source: str

    @property
    def consumer(self) -> str:
        """The name under which messages of the topic have had their effect, or are dead letters."""
        return f"inbound:{self.topic}"


# Handles messages in one database transaction, in which it calls the note with what it refuses, by index.
Note = Callable[[Mapping[int, DomainError]], None]
Handler = Callable[[Binding, Sequence[Inbound], Note], None]


class Bound(NamedTuple):
    """A topic's binding, and who handles what comes."""

    binding: Binding
    handle: Handler


@dataclass(slots=True, eq=False)
class InHand:
    """A message that has come and is not done with, or is parked and being tried.

    `attempts` counts in the one that is being made where it is parked; `is_noted` as one that was given again.
    """

    received: Received
    inbound: Inbound | None
    refusal: DomainError | None = None
    attempts: int = 0
    parked_id: int | None = None
    is_noted: bool = False

    @property
    def event_key(self) -> str:
        """What it is known by among all of its topic; not before it has been read."""
        assert self.inbound is not None
        return f"{self.inbound.source} {self.inbound.id}"


def letter_of(binding: Binding, one: InHand, error: Exception, *, attempts: int) -> Letter:
    """Return the dead letter of a message that cannot be handled."""
    received, attributes = one.received, attributes_of(one.received.headers)
    return Letter(
        consumer=binding.consumer,
        client_id=binding.client_id,
        topic=received.topic,
        partition=received.partition,
        offset=received.offset,
        key=received.key,
        headers=received.headers,
        body=received.value,
        event_id=one.inbound.id if one.inbound else attributes.get("id", ""),
        error_code=failure_code(error),
        error=failure_text(error),
        attempts=attempts,
        trace=one.inbound.trace if one.inbound else well_formed_traceparent(attributes.get("traceparent", "")),
    )


def read(received: Received) -> InHand:
    """Return a message with what it says, or with why it says nothing."""
    try:
        return InHand(received, read_message(received))
    except DomainError as refusal:
        return InHand(received, None, refusal)
