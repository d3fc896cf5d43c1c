"""Take from Redis Streams as a member of a consumer group (Redis 6.2 or newer)."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from ledger.events.transports.base import Received
from ledger.events.transports.redis_streams.server import Server, away_when_failing

ANSWER_S = 5.0
# Redis does not notice that a member died: what one has had for so long undone, another takes.
CLAIM_AFTER_S = 60.0
CLAIM_EVERY_S = 5.0
BEGINNING = "0-0"


class RedisSource:
    """A member of a group on each stream, under a name that no other has."""

    def __init__(self, server: Server, *, topics: Sequence[str], group: str) -> None:
        self._server, self._topics, self._group = server, list(topics), group
        self._name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._client = server.client(timeout_s=ANSWER_S)
        self._has_groups = False
        self._claim_at = 0.0
        self._held: set[tuple[str, str]] = set()

    def poll(self, *, size: int, timeout_s: float) -> list[Received]:
        """Return what a dead member has left, if anything, else what is new; see Source."""
        with away_when_failing():
            self._ensure_groups()
            received = self._claim(size) or self._read(size, min(timeout_s, ANSWER_S / 2))
        self._held |= {(message.topic, message.offset) for message in received}
        return received

    def done(self, received: Sequence[Received]) -> None:
        """Acknowledge what is done."""
        with away_when_failing(), self._client.pipeline(transaction=False) as pipeline:
            for topic in {message.topic for message in received}:
                ids = [message.offset for message in received if message.topic == topic]
                pipeline.xack(topic, self._group, *ids)
            pipeline.execute()
        self._held -= {(message.topic, message.offset) for message in received}

    def stay(self) -> None:
        """Claim what we hold from ourselves, so that it does not seem to be left."""
        with away_when_failing(), self._client.pipeline(transaction=False) as pipeline:
            for topic in {topic for topic, _ in self._held}:
                ids: list[Any] = [offset for held_topic, offset in self._held if held_topic == topic]
                pipeline.xclaim(topic, self._group, self._name, 0, ids, justid=True)
            pipeline.execute()

    def close(self) -> None:
        """Strike our name off the groups, unless something is undone: that is left for another member to claim."""
        try:
            for topic in () if self._held or not self._has_groups else self._topics:
                if not self._client.xpending_range(topic, self._group, "-", "+", 1, consumername=self._name):
                    self._client.xgroup_delconsumer(topic, self._group, self._name)
        except redis.RedisError:
            pass  # a name without messages does no harm
        self._client.close()

    def _ensure_groups(self) -> None:
        """Make the groups, from the beginning of the streams."""
        if self._has_groups:
            return
        for topic in self._topics:
            try:
                self._client.xgroup_create(topic, self._group, BEGINNING, mkstream=True)
            except redis.ResponseError as error:
                if "BUSYGROUP" not in str(error):  # it is there
                    raise
        self._has_groups = True

    def _claim(self, size: int) -> list[Received]:
        """Take over what others (or we, when the answer was lost) got and did not finish; look every few seconds."""
        if time.monotonic() < self._claim_at:
            return []
        received: list[Received] = []
        for topic in self._topics:
            begin = BEGINNING
            while len(received) < size:
                begin, entries, *_ = self._client.xautoclaim(
                    topic, self._group, self._name, int(CLAIM_AFTER_S * 1000), begin, count=size - len(received)
                )
                received += self._all_received(topic, entries)
                if begin == BEGINNING.encode():
                    break
        if len(received) < size:
            self._claim_at = time.monotonic() + CLAIM_EVERY_S
        left = [message for message in received if (message.topic, message.offset) not in self._held]
        return [message._replace(is_again=True) for message in left]

    def _read(self, size: int, timeout_s: float) -> list[Received]:
        streams: dict[Any, Any] = dict.fromkeys(self._topics, ">")
        # 0 would be for ever.
        block_ms = max(1, int(timeout_s * 1000))
        try:
            answer: Any = self._client.xreadgroup(self._group, self._name, streams, count=size, block=block_ms)
        except redis.ResponseError:
            self._has_groups = False  # somebody deleted a stream
            raise
        return [message for topic, entries in answer for message in self._all_received(topic.decode(), entries)]

    @staticmethod
    def _all_received(topic: str, entries: Sequence[tuple[bytes, Mapping[bytes, bytes] | None]]) -> list[Received]:
        # An entry that the stream has forgotten meanwhile has no fields any more.
        return [_received(topic, entry_id.decode(), dict(fields)) for entry_id, fields in entries if fields is not None]


def _received(topic: str, entry_id: str, fields: dict[bytes, bytes]) -> Received:
    key, value = fields.pop(b"key", b""), fields.pop(b"value", b"")
    headers = {name.decode(errors="replace"): text.decode(errors="replace") for name, text in fields.items()}
    return Received(topic, None, entry_id, key.decode(errors="replace"), value, headers, None)
