"""A Kafka that fails on demand: what a real one does once in a year."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from ledger.events.transports.base import Received, TransportAway
from ledger.events.transports.kafka.cluster import Cluster
from ledger.events.transports.kafka.progress import Progress
from ledger.events.transports.kafka.source import KafkaSource
from ledger.events.transports.kafka.transport import KafkaTransport
from tests.brokers.fixtures import PARTITIONS
from tests.brokers.mock_cluster import MockCluster
from tests.brokers.traffic import batch, by_key, firsts, number, take

DEADLINE_S = 2.0
PRODUCE = 0  # the number of the request in Kafka's protocol
MESSAGE_TOO_LARGE, NOT_ENOUGH_REPLICAS, INVALID_RECORD = 10, 19, 87
OUT_OF_ORDER_SEQUENCE, TOPIC_AUTHORIZATION_FAILED = 45, 29


@pytest.fixture
def transport(mock_cluster: MockCluster) -> Iterator[KafkaTransport]:
    transport = KafkaTransport(Cluster(mock_cluster.url), deadline_s=DEADLINE_S)
    yield transport
    transport.close()


def stored(cluster: MockCluster) -> dict[str, list[int]]:
    """Return the numbers of each key as they lie in the topic."""
    consumer = Consumer({"bootstrap.servers": cluster.url.removeprefix("kafka://"), "group.id": "none"})
    consumer.assign([TopicPartition("transactions", partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
    numbers: dict[str, list[int]] = {}
    while found := consumer.consume(1000, 1):
        for message in found:
            key, value = message.key(), message.value()
            assert key
            assert value
            numbers.setdefault(key.decode(), []).append(int(value.split(b":")[0]))
    consumer.close()
    return numbers


def test_what_passes_is_tried_again_and_nothing_comes_twice(mock_cluster, transport) -> None:
    mock_cluster.tell("error", PRODUCE, NOT_ENOUGH_REPLICAS, 3)
    sent = batch("transactions", range(300))

    assert transport.publish(sent) == {}

    assert stored(mock_cluster) == by_key(sent)


def test_a_producer_that_has_lost_count_is_replaced(mock_cluster, transport) -> None:
    first, second = batch("transactions", range(100)), batch("transactions", range(100, 200))
    assert transport.publish(first) == {}
    mock_cluster.tell("error", PRODUCE, OUT_OF_ORDER_SEQUENCE, 1)

    with pytest.raises(TransportAway, match=r"out of order|has stopped"):
        transport.publish(second)

    assert transport.publish(second) == {}
    assert {key: firsts(numbers) for key, numbers in stored(mock_cluster).items()} == by_key(first + second)


@pytest.mark.parametrize("error", [MESSAGE_TOO_LARGE, INVALID_RECORD])
def test_a_refusal_that_nothing_repeats_leaves_all_delivered_in_order(mock_cluster, transport, error: int) -> None:
    mock_cluster.tell("error", PRODUCE, error, 1)
    sent = batch("transactions", range(300))

    assert transport.publish(sent) == {}

    assert {key: firsts(numbers) for key, numbers in stored(mock_cluster).items()} == by_key(sent)


def test_what_only_people_can_mend_is_no_reason_to_give_a_message_up(mock_cluster, transport) -> None:
    mock_cluster.tell("error", PRODUCE, TOPIC_AUTHORIZATION_FAILED, 1)

    with pytest.raises(TransportAway, match="authorization failed"):
        transport.publish(batch("transactions", range(1)))

    assert transport.publish(batch("transactions", range(1))) == {}


def test_a_broker_that_is_down_is_known_by_the_deadline_and_found_again(mock_cluster, transport) -> None:
    first, second = batch("transactions", range(100)), batch("transactions", range(100, 200))
    assert transport.publish(first) == {}
    mock_cluster.tell("down")

    with pytest.raises(TransportAway, match="within 2 s"):
        transport.publish(second)
    with pytest.raises(TransportAway, match="topics"):
        transport.publish(second)
    mock_cluster.tell("up")

    assert transport.publish(second) == {}
    found = stored(mock_cluster)
    assert {key: firsts(numbers) for key, numbers in found.items()} == by_key(first + second)


class Unpaused:
    """A member of a group whose partitions come just after the old ones were paused."""

    def __init__(self, member: Consumer | None) -> None:
        self._member = member

    def pause(self, _: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._member, name)


def test_what_comes_while_a_source_stays_is_given_out_by_the_next_poll(
    mock_cluster: MockCluster, transport: KafkaTransport
) -> None:
    transport.publish(batch("transactions", range(30), keys=1))
    with closing(KafkaSource(Cluster(mock_cluster.url), topics=["transactions"], group="staying")) as source:
        received: list[Received] = []
        while not received:
            received = source.poll(size=1, timeout_s=0.2)
        source._consumer = cast("Consumer", Unpaused(source._consumer))
        for _ in range(5):
            source.stay()
        assert len(source._early) > 0

        received += take(source, 29)

    assert [number(message) for message in received] == list(range(30))


def test_a_partition_is_done_up_to_its_first_message_that_is_not() -> None:
    progress = Progress()
    for offset in (3, 4, 7, 8, 9):  # 5 and 6 were no messages
        progress.take(offset)

    assert [progress.finish(offset) for offset in (7, 4, 3, 9, 8)] == [None, None, 8, None, 10]
