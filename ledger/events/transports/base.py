"""What a broker is to the relay and to the consumer: a transport to publish by, a source to take from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol


class Message(NamedTuple):
    """One thing to publish; what has the same `key` in a topic keeps its order."""

    topic: str
    key: str
    value: bytes
    headers: dict[str, str]


class Received(NamedTuple):
    """One message of a topic. `partition` and `offset` name its place there; `token` is the source's own.

    `is_again` where somebody may have had it before who has died of it.
    """

    topic: str
    partition: int | None
    offset: str
    key: str
    value: bytes
    headers: dict[str, str]
    token: Any
    is_again: bool = False


class TransportAway(Exception):
    """The broker is not there, refuses us, or is silent past the deadline. Nothing is known: all of it is sent again.

    Its words name no password.
    """


class Transport(Protocol):
    """Publishes to one broker. For one thread at a time."""

    name: str
    """Names the cursor of this transport, and never changes: `kafka`, `rabbitmq`, `redis`, `null`."""

    def publish(self, messages: Sequence[Message]) -> dict[int, str]:
        """Deliver, in the order given for each key, and return when the broker has confirmed all.

        Returns for each message that the broker will never take (too large) its index and the reason; all others are
        delivered. After TransportAway the same batch comes again whole, and nothing later before it: then what was
        delivered of it is delivered twice, and nothing out of its order.

        Raises:
            TransportAway: nothing is known.
        """
        ...

    def close(self) -> None:
        """Give back the connection; the next `publish` would open it again."""
        ...


class Source(Protocol):
    """Takes from one broker as a member of a group. For one thread at a time."""

    def poll(self, *, size: int, timeout_s: float) -> list[Received]:
        """Return up to `size` messages as soon as there are any, none after `timeout_s`.

        What was returned and never `done` comes again: to another member when this one dies.

        Raises:
            TransportAway: the broker cannot be asked; ask again later, by the same source.
        """
        ...

    def done(self, received: Sequence[Received]) -> None:
        """Say, after the effect, that these need not come again. In any order: none counts before what precedes it.

        Raises:
            TransportAway: nothing is known; they may come again.
        """
        ...

    def stay(self) -> None:
        """Tell the broker that we are at work on what was given out, so that nobody else is given it; give out nothing.

        To be called every few seconds while there is nothing to poll for. What the broker takes from us all the same
        comes again, to whoever it is given to.

        Raises:
            TransportAway: the broker does not hear us.
        """
        ...

    def close(self) -> None:
        """Leave the group and give back what is not done."""
        ...
