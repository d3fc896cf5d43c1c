"""Publish events: a transport follows the stream as a listener does, but what it does cannot be rolled back.

So it publishes first and moves its cursor then: killed in between, the whole window is published again, in the same
order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from django.db import transaction

from config.runtime.errors import DomainError, Kind
from ledger.events.dead_letters import letter_of_event, record_dead_letters
from ledger.events.envelopes import dead_message, message_of
from ledger.events.models import DeadLetter
from ledger.events.stream import Event, Window, advance
from ledger.events.transports.base import Message, Transport
from ledger.events.types import EventType


class MessageRefused(DomainError):
    """The broker will never take this message."""

    kind, code = Kind.TOO_LARGE, "message_refused"


class TransportFollower(NamedTuple):
    """Hands events to one transport."""

    name: str
    transport: Transport

    def can_go_on(self) -> bool:
        """Tell that nothing waits here but in the stream itself."""
        return True

    def take(self, window: Window) -> None:
        """Publish a window's events; what the broker will never take becomes dead letters.

        Raises:
            TransportAway: nobody knows what has been published; the window will be again.
        """
        refused = self.transport.publish(_messages(window.events)) if window.events else {}
        letters = [
            letter_of_event(self.name, window.events[index], code=MessageRefused.code, error=why, attempts=1)
            for index, why in refused.items()
        ]
        with transaction.atomic(durable=True):
            if letters:
                record_dead_letters(letters)
            advance(self.name, window)

    def take_again(self, event: Event) -> None:
        """Publish an event that the broker did not take, behind all that it has taken since.

        Raises:
            TransportAway: nobody knows whether it has been published.
            MessageRefused: the broker does not take it now either.
        """
        for why in self.transport.publish(_messages([event])).values():
            raise MessageRefused(why)

    def take_parked(self, lanes: Collection[int]) -> int:  # noqa: ARG002  (as every follower)
        """Do nothing: a transport parks nothing."""
        return 0


def _messages(events: Sequence[Event]) -> list[Message]:
    """Return what is published of events: of a dead letter the message that it is."""
    dead = [event.key for event in events if event.type == EventType.DEAD_LETTER_RECORDED]
    letters = DeadLetter.objects.in_bulk(dead) if dead else {}
    return [dead_message(event, letters[event.key]) if event.key in letters else message_of(event) for event in events]
