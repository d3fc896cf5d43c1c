"""Publish to Kafka by a producer that neither doubles, drops nor overtakes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, Producer

from ledger.events.transports.base import Message, TransportAway
from ledger.events.transports.deadline import DELIVERY_S, Deadline
from ledger.events.transports.halving import BatchRefused, deliver_by_halves
from ledger.events.transports.kafka.cluster import Cluster

REFUSALS = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_RECORD}
CONSEQUENCES = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}  # noqa: SLF001  (their names)
PURGED_S = 1.0


class KafkaTransport:
    """Publishes to a cluster; a key decides the partition as it does for clients in Java.

    A partition takes messages in their order or none: no message runs out of time by itself, and one that fails stops
    the producer (the gapless guarantee, without which those behind it were delivered). A producer that was stopped, or
    whose broker was silent past the deadline, is thrown away with all that it holds.
    """

    name = "kafka"

    def __init__(self, cluster: Cluster, *, deadline_s: float = DELIVERY_S) -> None:
        self._cluster, self._deadline_s = cluster, deadline_s
        self._producer: Producer | None = None
        self._topics: set[str] = set()
        self._trouble = ""

    def publish(self, messages: Sequence[Message]) -> dict[int, str]:
        """Deliver a batch of at most 100,000 messages; see Transport."""
        return deliver_by_halves(messages, self._deliver)

    def close(self) -> None:
        """Throw the producer away; nothing that it holds is confirmed to anybody."""
        if self._producer is not None:
            self._producer.purge()
        self._producer = None
        self._topics.clear()

    def _deliver(self, messages: Sequence[Message]) -> dict[int, str]:
        deadline = Deadline(self._deadline_s)
        failures: list[KafkaError] = []
        self._trouble = "it is silent"
        try:
            self._ensure_topics({message.topic for message in messages}, deadline)
            producer = self._producer = self._producer or self._open()
            refused = _produce(producer, messages, failures)
            waiting, has_stopped = _flush(producer, deadline)
        except KafkaException as error:
            self.close()
            raise TransportAway(f"Kafka does not serve us: {error.args[0].str()}") from error
        except BaseException:
            self.close()
            raise
        if waiting or failures or has_stopped:
            self.close()
            raise self._failure(waiting, failures)
        return refused

    def _ensure_topics(self, topics: set[str], deadline: Deadline) -> None:
        if topics <= self._topics:
            return
        self._cluster.ensure_topics(topics, timeout_s=deadline.left_s())
        self._topics |= topics

    def _open(self) -> Producer:
        return self._cluster.producer(
            on_error=self._note_trouble,
            enable_idempotence=True,
            enable_gapless_guarantee=True,
            acks="all",
            message_timeout_ms=0,  # ours is the deadline: theirs would leave a gap
            compression_type="lz4",
            partitioner="murmur2_random",
            delivery_report_only_error=True,
        )

    def _note_trouble(self, error: KafkaError) -> None:
        self._trouble = error.str()

    def _failure(self, waiting: int, failures: Sequence[KafkaError]) -> BatchRefused | TransportAway:
        reason = next((error.str() for error in failures if error.code() in REFUSALS), None)
        if reason is not None:
            return BatchRefused(reason)
        if waiting:
            return TransportAway(f"Kafka has not confirmed all within {self._deadline_s:g} s: {self._trouble}")
        causes = (error.str() for error in failures if error.code() not in CONSEQUENCES)
        return TransportAway(f"Kafka has not taken the messages: {next(causes, 'the producer has stopped')}")


def _produce(producer: Producer, messages: Sequence[Message], failures: list[KafkaError]) -> dict[int, str]:
    """Hand all to the producer, which notes what fails later; return those that it would not even take."""

    def note(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failures.append(error)

    refused: dict[int, str] = {}
    for index, (topic, key, value, headers) in enumerate(messages):
        try:
            producer.produce(topic, value, key, on_delivery=note, headers=dict(headers))
        except KafkaException as error:
            if error.args[0].code() not in REFUSALS:
                raise
            refused[index] = error.args[0].str()
    return refused


def _flush(producer: Producer, deadline: Deadline) -> tuple[int, bool]:
    """Wait until all is delivered or has failed; return how many are neither, and whether the producer has stopped."""
    # A producer that stops tells it by an exception through whatever it was about to report (SystemError, then); the
    # reports themselves come behind it.
    for has_stopped, timeout_s in ((False, deadline.left_s()), (True, PURGED_S)):
        with suppress(KafkaException, SystemError):
            return producer.flush(timeout_s), has_stopped
    return len(producer), True
