"""RabbitMQ: `amqp://user:password@host/vhost`, or amqps. A topic is an exchange, a group a queue on it."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.events.transports.rabbitmq.source import RabbitSource
from ledger.events.transports.rabbitmq.transport import RabbitTransport


def open_transport(url: str) -> RabbitTransport:
    return RabbitTransport(url)


def open_source(url: str, *, topics: Sequence[str], group: str) -> RabbitSource:
    return RabbitSource(url, topics=topics, group=group)
