"""Take from Kafka as a member of a consumer group."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from ledger.events.transports.base import Received, TransportAway
from ledger.events.transports.kafka.cluster import Cluster
from ledger.events.transports.kafka.progress import Progress

CONNECT_S = LEAVE_S = 5.0
COMMIT_EVERY_MS = 500
# A member that died is noticed, and its partitions are given to others, after this.
SESSION_MS, HEARTBEAT_MS = 10_000, 2_000
# One that neither polls nor stays for so long is taken for dead as well.
POLL_WITHIN_MS = 300_000
# Kafka does not say what it has given before. What a member had in hand that died, or had done and not yet committed,
# is among the first messages of a partition that it leaves us.
AGAIN_MAX = 5_000


class KafkaSource:
    """A member of a group; its offsets are committed behind it, up to the first message that is not done."""

    def __init__(self, cluster: Cluster, *, topics: Sequence[str], group: str) -> None:
        self._cluster, self._topics, self._group = cluster, list(topics), group
        self._consumer: Consumer | None = None
        self._progress: dict[tuple[str, int], Progress] = {}
        self._early: list[KafkaMessage] = []
        self._has_paused = False
        self._trouble = ""

    def poll(self, *, size: int, timeout_s: float) -> list[Received]:
        """Return what there is; see Source."""
        consumer = self._consumer or self._open()
        try:
            self._go_on(consumer)
            found = self._take(consumer, size, timeout_s)
        except KafkaException as error:
            self.close()
            raise TransportAway(f"Kafka does not serve us: {error.args[0].str()}") from error
        received = [self._receive(message) for message in found if message.error() is None]
        errors = [error.str() for error in map(KafkaMessage.error, found) if error is not None]
        trouble, self._trouble = self._trouble or "; ".join(errors), ""
        if trouble and not received:
            raise TransportAway(f"Kafka has nothing for us: {trouble}")
        return received

    def done(self, received: Sequence[Received]) -> None:
        """Note what is done; it is committed within half a second, and when a partition goes to another member."""
        reached: dict[tuple[str, int], int] = {}
        for message in received:
            assert message.partition is not None
            place = message.topic, message.partition
            progress: Progress = message.token
            offset = progress.finish(int(message.offset))
            # What came before a partition was taken from us is another member's affair.
            if offset is not None and self._progress.get(place) is progress:
                reached[place] = offset
        if reached and self._consumer is not None:
            offsets = [TopicPartition(*place, offset) for place, offset in reached.items()]
            try:
                self._consumer.store_offsets(offsets=offsets)
            except KafkaException as error:
                # A partition has left us and we have not been told yet: whoever has it now is told all of that again.
                raise TransportAway(f"Kafka does not take what is done: {error.args[0].str()}") from error

    def stay(self) -> None:
        """Poll, so that our partitions stay ours; those that others want leave us, and new ones come."""
        consumer = self._consumer
        if consumer is None:
            return
        try:
            consumer.pause(consumer.assignment())
            self._has_paused = True
            # Of a partition that has just come.
            if (early := consumer.poll(0)) is not None:
                self._early.append(early)
        except KafkaException as error:
            raise TransportAway(f"Kafka does not have us stay: {error.args[0].str()}") from error

    def close(self) -> None:
        """Commit what is done and leave the group."""
        consumer, self._consumer = self._consumer, None
        self._progress.clear()
        self._early.clear()
        if consumer is not None:
            # It would wait for a silent broker for ever.
            leaving = threading.Thread(target=consumer.close, name="kafka-leaving", daemon=True)
            leaving.start()
            leaving.join(LEAVE_S)

    def _open(self) -> Consumer:
        self._cluster.ensure_topics(self._topics, timeout_s=CONNECT_S)
        consumer = self._cluster.consumer(
            group_id=self._group,
            auto_offset_reset="earliest",
            enable_auto_offset_store=False,
            auto_commit_interval_ms=COMMIT_EVERY_MS,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            max_poll_interval_ms=POLL_WITHIN_MS,
            partition_assignment_strategy="cooperative-sticky",
            on_error=self._note_trouble,
        )
        consumer.subscribe(self._topics, on_assign=self._note_assigned, on_revoke=self._forget, on_lost=self._forget)
        self._consumer = consumer
        return consumer

    def _go_on(self, consumer: Consumer) -> None:
        if self._has_paused:
            self._has_paused = False
            consumer.resume(consumer.assignment())

    def _take(self, consumer: Consumer, size: int, timeout_s: float) -> list[KafkaMessage]:
        early, self._early = self._early, []
        if early:
            return early
        first = consumer.poll(timeout_s)
        if first is None or size == 1:
            return [] if first is None else [first]
        return [first, *consumer.consume(size - 1, 0)]

    def _receive(self, message: KafkaMessage) -> Received:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        progress = self._progress.setdefault((topic, partition), Progress())
        progress.take(offset)
        told: Any = message.headers() or ()
        headers = {name: _text(value) for name, value in told}
        key, value, is_again = _text(message.key()), _bytes(message.value()), progress.taken <= AGAIN_MAX
        return Received(topic, partition, str(offset), key, value, headers, progress, is_again)

    def _note_assigned(self, _: Consumer, __: Sequence[TopicPartition]) -> None:
        # One that was paused when it left us may come back so.
        self._has_paused = True

    def _forget(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        gone = {(partition.topic, partition.partition) for partition in partitions}
        for place in gone:
            self._progress.pop(place, None)
        self._early = [message for message in self._early if (message.topic(), message.partition()) not in gone]

    def _note_trouble(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION):  # noqa: SLF001  (their names)
            self._trouble = error.str()


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value or "").encode()
