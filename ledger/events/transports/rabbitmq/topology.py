"""The exchanges and queues that we make: they survive a restart of the broker, and queues the loss of a node."""

from __future__ import annotations

from pika.adapters.blocking_connection import BlockingChannel

DEAD_LETTERS = ".dlq"


def declare_exchange(channel: BlockingChannel, topic: str) -> None:
    """Make the exchange of a topic; one for dead letters has a queue from the beginning, where they wait for people."""
    channel.exchange_declare(topic, "topic", durable=True)
    if topic.endswith(DEAD_LETTERS):
        _declare_queue(channel, topic, topic)


def declare_queue(channel: BlockingChannel, topic: str, group: str) -> str:
    """Make the queue of a group, into which all of the topic goes from now on; return its name."""
    declare_exchange(channel, topic)
    name = f"{topic}.{group}"
    _declare_queue(channel, name, topic)
    return name


def _declare_queue(channel: BlockingChannel, name: str, topic: str) -> None:
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(name, topic, "#")
