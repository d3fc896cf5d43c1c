"""Take from RabbitMQ: a group is a queue, its members share it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from queue import Empty, SimpleQueue

from pika import BasicProperties
from pika.channel import Channel
from pika.spec import Basic

from ledger.events.transports.base import Received, TransportAway
from ledger.events.transports.rabbitmq.link import Link, declaring, describe
from ledger.events.transports.rabbitmq.topology import declare_queue
from ledger.events.transports.rabbitmq.transport import KEY_HEADER

# So many may be with us undone; a consumer takes a batch from these while it works on another.
PREFETCH = 2_000


class RabbitSource:
    """A member of a group. What it has and has not done goes back to the queue when its connection ends."""

    def __init__(self, url: str, *, topics: Sequence[str], group: str) -> None:
        self._url, self._topics, self._group = url, topics, group
        self._intake: _Intake | None = None

    def poll(self, *, size: int, timeout_s: float) -> list[Received]:
        """Return what there is; see Source."""
        intake = self._intake = self._intake or _Intake(self._url, self._topics, self._group)
        received: list[Received] = []
        try:
            while len(received) < size:
                found = intake.arrived.get(timeout=timeout_s) if not received else intake.arrived.get_nowait()
                if isinstance(found, Exception):
                    self.close()  # what was received is given out anew
                    raise TransportAway(f"RabbitMQ has ended the connection: {describe(found)}") from found
                received.append(found)
        except Empty:
            pass
        return received

    def done(self, received: Sequence[Received]) -> None:
        """Acknowledge what is done; of an earlier connection there is nothing left to acknowledge."""
        for message in received:
            intake, tag = message.token
            if self._intake is not None and intake is self._intake:
                self._intake.link.call(partial(_acknowledge, tag=tag))

    def stay(self) -> None:
        """Do nothing: the link answers heartbeats, and how long a message may be undone is the broker's to say."""

    def close(self) -> None:
        """Acknowledge what is done and close the connection."""
        intake, self._intake = self._intake, None
        if intake is not None:
            intake.link.close()


class _Intake:
    """One connection, and what has arrived by it; its end arrives last."""

    def __init__(self, url: str, topics: Sequence[str], group: str) -> None:
        self.arrived: SimpleQueue[Received | Exception] = SimpleQueue()
        with declaring(url) as channel:
            self._queues = {declare_queue(channel, topic, group): topic for topic in topics}
        self.link = Link(url, on_open=self._consume, on_closed=self.arrived.put)

    def _consume(self, channel: Channel) -> None:
        channel.basic_qos(prefetch_count=PREFETCH)
        for queue, topic in self._queues.items():
            channel.basic_consume(queue, partial(self._receive, topic))

    def _receive(self, topic: str, _: Channel, method: Basic.Deliver, told: BasicProperties, value: bytes) -> None:
        headers = {name: _text(header) for name, header in (told.headers or {}).items()}
        key = headers.pop(KEY_HEADER, method.routing_key)
        token = self, method.delivery_tag
        self.arrived.put(Received(topic, None, _place(value, told), key, value, headers, token, method.redelivered))


def _acknowledge(channel: Channel, *, tag: int) -> None:
    channel.basic_ack(tag)


def _place(value: bytes, told: BasicProperties) -> str:
    """Return what a message is known by in its queue, which numbers deliveries, and those anew in each connection."""
    return hashlib.sha256(f"{told.message_id or ''} ".encode(errors="replace") + value).hexdigest()[:32]


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
