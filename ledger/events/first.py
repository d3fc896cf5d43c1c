"""Who is told first: of every event before any listener or broker, and by a cursor of its own, so that none is missed.

It may be told the same more than once, and writes nothing: it keeps no row of what it has had. Where it cannot be told
now nobody waits for it. It is told by its own cursor as soon as it can be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import NamedTuple

from django.db import transaction

from ledger.events.following import Follower
from ledger.events.stream import Event, Window, advance
from ledger.events.transports.base import TransportAway

FOLLOWER = "first"

Tell = Callable[[Sequence[Event]], None]


class NotTold(TransportAway):
    """Who is told first cannot be told now."""


class First(NamedTuple):
    """Follows by a cursor of its own."""

    tell: Tell
    name: str = FOLLOWER

    def can_go_on(self) -> bool:
        """Tell that nothing waits here but in the stream itself."""
        return True

    def take(self, window: Window) -> None:
        """Tell of a window's events, and move the cursor then.

        Raises:
            NotTold: it will be told again.
        """
        self.tell(window.events)
        with transaction.atomic(durable=True):
            advance(self.name, window)

    def take_again(self, event: Event) -> None:
        """Tell of one event."""
        self.tell([event])

    def take_parked(self, lanes: Collection[int]) -> int:  # noqa: ARG002  (as every follower)
        """Do nothing: nothing is parked."""
        return 0


class Behind(NamedTuple):
    """Follows as another does, who has nothing before the first was told of it, if that can be."""

    tell: Tell
    follower: Follower

    @property
    def name(self) -> str:
        return self.follower.name

    def can_go_on(self) -> bool:
        return self.follower.can_go_on()

    def take(self, window: Window) -> None:
        with suppress(NotTold):
            self.tell(window.events)
        self.follower.take(window)

    def take_again(self, event: Event) -> None:
        self.follower.take_again(event)

    def take_parked(self, lanes: Collection[int]) -> int:
        return self.follower.take_parked(lanes)
