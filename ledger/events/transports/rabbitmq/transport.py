"""Publish to RabbitMQ: each topic an exchange, each message persistent, a batch confirmed as a whole."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from pika import BasicProperties
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker
from pika.frame import Method
from pika.spec import Basic

from ledger.events.transports.base import Message, TransportAway
from ledger.events.transports.deadline import DELIVERY_S, Deadline
from ledger.events.transports.halving import BatchRefused, deliver_by_halves
from ledger.events.transports.rabbitmq.link import Link, declaring, describe
from ledger.events.transports.rabbitmq.topology import declare_exchange

PERSISTENT = 2
PRECONDITION_FAILED = 406
# Where a subscriber finds the key, which is no part of the routing.
KEY_HEADER = "partition-key"


class RabbitTransport:
    """Publishes through one channel; the routing key is the event's type (header `ce_type`), else the message's key.

    What no queue is bound for is not lost without a word: it is refused, like what is too large.
    """

    name = "rabbitmq"

    def __init__(self, url: str, *, deadline_s: float = DELIVERY_S) -> None:
        self._url, self._deadline_s = url, deadline_s
        self._link: Link | None = None
        self._topics: set[str] = set()
        self._published = 0
        self._batch = _Batch((), 0)

    def publish(self, messages: Sequence[Message]) -> dict[int, str]:
        """Deliver a batch; see Transport."""
        return deliver_by_halves(messages, self._deliver)

    def close(self) -> None:
        """Close the connection."""
        link, self._link = self._link, None
        self._topics.clear()
        if link is not None:
            link.close()

    def _deliver(self, messages: Sequence[Message]) -> dict[int, str]:
        deadline = Deadline(self._deadline_s)
        if self._link is not None and self._link.failure is not None:
            self.close()  # it ended while there was nothing to publish
        self._ensure_topics({message.topic for message in messages})
        try:
            link = self._usable_link()
            batch = self._batch = _Batch(messages, self._published + 1)
            self._published += len(messages)
            link.call(batch.begin)
            if link.failure is not None:
                batch.fail(link.failure)
            is_through = batch.through.wait(deadline.left_s())
        except BaseException:
            self.close()
            raise
        if not is_through or batch.failure is not None:
            self.close()
            raise _failure(batch.failure, deadline)
        return batch.unrouted()

    def _ensure_topics(self, topics: set[str]) -> None:
        if topics <= self._topics:
            return
        with declaring(self._url) as channel:
            for topic in topics:
                declare_exchange(channel, topic)
        self._topics |= topics

    def _usable_link(self) -> Link:
        if self._link is None:
            self._published = 0
            self._link = Link(self._url, on_open=self._prepare, on_closed=self._fail)
        return self._link

    def _prepare(self, channel: Channel) -> None:
        channel.confirm_delivery(self._hear)
        channel.add_on_return_callback(lambda _, returned, *__: self._batch.note_unrouted(returned))

    def _hear(self, frame: Method) -> None:
        self._batch.hear(frame)

    def _fail(self, reason: Exception) -> None:
        self._batch.fail(reason)


class _Batch:
    """Messages on their way, in the link's thread; `through` is set when all are confirmed, or when all is over."""

    def __init__(self, messages: Sequence[Message], first_tag: int) -> None:
        self._messages = messages
        self._first_tag = first_tag
        self._waiting: set[int] = set()
        self._returned: set[tuple[str, str]] = set()
        self.failure: Exception | None = None
        self.through = threading.Event()

    def begin(self, channel: Channel) -> None:
        self._waiting = set(range(self._first_tag, self._first_tag + len(self._messages)))
        for message in self._messages:
            channel.basic_publish(
                message.topic, routing_key(message), message.value, _properties(message), mandatory=True
            )

    def hear(self, frame: Method) -> None:
        """Note which were confirmed, by their numbers on the channel; one that was not stored fails the batch."""
        if isinstance(frame.method, Basic.Nack):
            self.fail(ConnectionError("It could not store a message."))
            return
        tag = frame.method.delivery_tag
        self._waiting -= {one for one in self._waiting if one <= tag} if frame.method.multiple else {tag}
        if not self._waiting:
            self.through.set()

    def note_unrouted(self, returned: Basic.Return) -> None:
        """Note what came back; it is confirmed afterwards all the same."""
        self._returned.add((returned.exchange, returned.routing_key))

    def unrouted(self) -> dict[int, str]:
        """Return what came back: all that has the same way has the same fate."""
        return {
            index: f"No queue is bound to exchange {message.topic} for {routing_key(message)}."
            for index, message in enumerate(self._messages)
            if (message.topic, routing_key(message)) in self._returned
        }

    def fail(self, reason: Exception) -> None:
        self.failure = self.failure or reason
        self.through.set()


def routing_key(message: Message) -> str:
    """Return what subscribers choose by."""
    return message.headers.get("ce_type", message.key)


def _properties(message: Message) -> BasicProperties:
    return BasicProperties(
        delivery_mode=PERSISTENT,
        content_type=message.headers.get("content-type"),
        message_id=message.headers.get("ce_id"),
        type=message.headers.get("ce_type"),
        headers=message.headers | {KEY_HEADER: message.key},
    )


def _failure(reason: Exception | None, deadline: Deadline) -> BatchRefused | TransportAway:
    if reason is None:
        return TransportAway(f"RabbitMQ has not confirmed a batch within {deadline.within_s:g} s.")
    if isinstance(reason, ChannelClosedByBroker) and reason.reply_code == PRECONDITION_FAILED:
        return BatchRefused(reason.reply_text)
    return TransportAway(f"RabbitMQ has not taken the messages: {describe(reason)}")
