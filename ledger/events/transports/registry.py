"""The brokers we know, each listed once: the scheme of a URL and the module that speaks to it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from urllib.parse import urlsplit

from ledger.events.transports.base import Source, Transport

# By path: a client library is loaded by who has such a broker, and by nobody else.
MODULES = {
    "kafka": "ledger.events.transports.kafka",
    "amqp": "ledger.events.transports.rabbitmq",
    "amqps": "ledger.events.transports.rabbitmq",
    "redis": "ledger.events.transports.redis_streams",
    "rediss": "ledger.events.transports.redis_streams",
    "null": "ledger.events.transports.null",
}


def open_transport(url: str) -> Transport:
    """Return the transport of an EVENTS_URL; nothing is connected yet."""
    transport: Transport = _module(url).open_transport(url)
    return transport


def open_source(url: str, *, topics: Sequence[str], group: str) -> Source:
    """Return a source of these topics as a member of `group`; nothing is connected yet."""
    source: Source = _module(url).open_source(url, topics=topics, group=group)
    return source


def _module(url: str) -> ModuleType:
    return import_module(MODULES[urlsplit(url).scheme])
