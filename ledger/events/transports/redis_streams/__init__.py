"""Redis Streams: `redis://:password@host:6379/0?maxlen=1000000`, or rediss. A topic is a stream."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.events.transports.redis_streams.server import Server
from ledger.events.transports.redis_streams.source import RedisSource
from ledger.events.transports.redis_streams.transport import RedisTransport


def open_transport(url: str) -> RedisTransport:
    return RedisTransport(Server(url))


def open_source(url: str, *, topics: Sequence[str], group: str) -> RedisSource:
    return RedisSource(Server(url), topics=topics, group=group)
