"""Publish to Redis Streams: a batch is one transaction, of which the streams have all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.events.transports.base import Message
from ledger.events.transports.deadline import DELIVERY_S
from ledger.events.transports.redis_streams.server import Server, away_when_failing

# As much as Kafka takes: Redis itself would take half a gigabyte.
SIZE_MAX_BYTES = 1_000_000


class RedisTransport:
    """Adds to streams. An entry has the fields `key` and `value`, and one for each header.

    Redis confirms what it has in memory; what a crash leaves of that is for its `appendfsync` to say.
    """

    name = "redis"

    def __init__(self, server: Server, *, deadline_s: float = DELIVERY_S) -> None:
        self._client = server.client(timeout_s=deadline_s)
        self._length_max = server.length_max

    def publish(self, messages: Sequence[Message]) -> dict[int, str]:
        """Deliver a batch; see Transport."""
        refused: dict[int, str] = {}
        # Were it no transaction, one message could be refused (for want of memory) and the next of its key be taken.
        with away_when_failing(), self._client.pipeline(transaction=True) as pipeline:
            for index, message in enumerate(messages):
                if len(message.value) > SIZE_MAX_BYTES:
                    refused[index] = (
                        f"The message has {len(message.value)} bytes, and {SIZE_MAX_BYTES} at most are taken."
                    )
                    continue
                fields: dict[Any, Any] = {**message.headers, "key": message.key, "value": message.value}
                pipeline.xadd(message.topic, fields, maxlen=self._length_max, approximate=True)
            pipeline.execute()
        return refused

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
