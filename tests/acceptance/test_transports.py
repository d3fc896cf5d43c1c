"""Every broker, as it is: what is published arrives whole and in order, or the publisher knows that it did not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ledger.events.transports.base import Message, Source, Transport, TransportAway
from ledger.events.transports.kafka import source as kafka_source
from ledger.events.transports.kafka.cluster import Cluster
from ledger.events.transports.kafka.transport import KafkaTransport
from ledger.events.transports.rabbitmq import link
from ledger.events.transports.rabbitmq.link import declaring
from ledger.events.transports.rabbitmq.transport import RabbitTransport
from ledger.events.transports.redis_streams import source as redis_source
from ledger.events.transports.redis_streams.server import Server as RedisServer
from ledger.events.transports.redis_streams.transport import RedisTransport
from ledger.events.transports.registry import open_source, open_transport
from tests.brokers.kafka import Kafka
from tests.brokers.rabbitmq import QUEUE_SETTLES_S, RabbitMQ
from tests.brokers.traffic import batch, by_key, firsts, number, take, take_rest
from tests.valkey import Server as Valkey
from tests.valkey import connected

DEADLINE_S = 1.5
TOO_LARGE_BYTES = 1_200_000


def transport_at(url: str, deadline_s: float) -> Transport:
    if url.startswith("kafka"):
        return KafkaTransport(Cluster(url), deadline_s=deadline_s)
    if url.startswith("amqp"):
        return RabbitTransport(url, deadline_s=deadline_s)
    return RedisTransport(RedisServer(url), deadline_s=deadline_s)


@dataclass
class Ground:
    """One broker, and a topic of the test's own; whatever is opened is closed at the end."""

    server: Any
    topic: str = field(default_factory=lambda: f"test-{uuid.uuid4().hex}")
    _open: list[Transport | Source] = field(default_factory=list)

    def transport(self, *, deadline_s: float = 10.0) -> Transport:
        made = transport_at(self.server.url, deadline_s)
        self._open.append(made)
        return made

    def source(self, group: str = "test") -> Source:
        """Open a source that is there already: RabbitMQ keeps for a group what comes after its first member."""
        made = open_source(self.server.url, topics=[self.topic], group=group)
        self._open.append(made)
        assert made.poll(size=1, timeout_s=0.05) == []
        return made

    def batch(self, numbers: range, **options: int) -> list[Message]:
        return batch(self.topic, numbers, **options)

    def close(self) -> None:
        for made in self._open:
            made.close()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(params=["kafka", "rabbitmq", "valkey"])
def ground(request) -> Iterator[Ground]:
    ground = Ground(request.getfixturevalue(request.param))
    yield ground
    ground.close()


@pytest.fixture
def on_kafka(kafka: Kafka) -> Iterator[Ground]:
    with closing(Ground(kafka)) as ground:
        yield ground


@pytest.fixture
def on_rabbitmq(rabbitmq: RabbitMQ) -> Iterator[Ground]:
    with closing(Ground(rabbitmq)) as ground:
        yield ground


@pytest.fixture
def on_valkey(valkey: Valkey) -> Iterator[Ground]:
    with closing(Ground(valkey)) as ground:
        yield ground


def test_what_is_confirmed_arrives_whole_once_and_in_the_order_of_its_key(ground: Ground) -> None:
    source, transport = ground.source(), ground.transport()
    sent = [message for start in range(0, 900, 300) for message in ground.batch(range(start, start + 300))]

    for start in range(0, 900, 300):
        assert transport.publish(sent[start : start + 300]) == {}

    received = [*take(source, 900), *take_rest(source, quiet_s=0.5)]
    assert by_key(received) == by_key(sent)
    first = next(message for message in received if number(message) == 0)
    assert (first.topic, first.key, first.value) == (ground.topic, "key-0", b"0:")
    assert first.headers == sent[0].headers


def test_what_is_too_large_is_named_with_the_reason_and_all_else_arrives_in_order(ground: Ground) -> None:
    source, transport = ground.source(), ground.transport()
    sent = ground.batch(range(20))
    for index in (7, 13):
        sent[index] = sent[index]._replace(value=os.urandom(TOO_LARGE_BYTES))

    refused = transport.publish(sent)

    assert refused.keys() == {7, 13}
    assert all("large" in reason or "bytes" in reason for reason in refused.values())
    expected = by_key([message for index, message in enumerate(sent) if index not in refused])
    received = by_key(take_rest(source))
    assert {key: firsts(numbers) for key, numbers in received.items()} == expected


@pytest.mark.parametrize("outage", ["freeze", "kill"])
def test_an_outage_is_known_by_the_deadline_and_afterwards_everything_arrives_in_order(
    ground: Ground, outage: str
) -> None:
    source, transport = ground.source(), ground.transport(deadline_s=DEADLINE_S)
    patiently(lambda: transport.publish(ground.batch(range(100))))
    source.done(take(source, 100))
    if outage == "kill" and isinstance(ground.server, RabbitMQ):
        time.sleep(QUEUE_SETTLES_S)
    second, third = ground.batch(range(100, 200)), ground.batch(range(200, 300))
    getattr(ground.server, outage)()

    begun = time.monotonic()
    with pytest.raises(TransportAway):
        transport.publish(second)
    assert time.monotonic() - begun < DEADLINE_S + 2
    with pytest.raises(TransportAway):
        transport.publish(second)

    restore(ground.server, outage)
    patiently(lambda: transport.publish(second))
    assert transport.publish(third) == {}
    received = by_key(take_through_trouble(source, {number(message) for message in second + third}))
    assert {key: firsts(numbers) for key, numbers in received.items()} == by_key(second + third)


def test_what_a_killed_consumer_had_not_done_comes_again_and_the_rest_does_not(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_source, "CLAIM_AFTER_S", 0.5)
    monkeypatch.setattr(redis_source, "CLAIM_EVERY_S", 0.2)
    ground.source("killed").close()
    ground.transport().publish(ground.batch(range(40), keys=1))
    asked = [sys.executable, "-c", CONSUMER, ground.server.url, ground.topic]
    consumer = subprocess.Popen(asked, stdout=subprocess.PIPE, text=True)
    assert consumer.stdout is not None
    assert consumer.stdout.readline() == "taken 40, done 15\n"
    consumer.send_signal(signal.SIGKILL)
    consumer.communicate()

    heir = open_source(ground.server.url, topics=[ground.topic], group="killed")
    with closing(heir):
        again = take(heir, 25)
        assert sorted(number(message) for message in again) == list(range(15, 40))
        assert all(message.is_again for message in again)
        assert take_rest(heir, quiet_s=0.5) == []


def test_what_comes_for_the_first_time_does_not_say_that_it_comes_again(ground: Ground, monkeypatch) -> None:
    # Kafka does not know it of the first of a partition.
    monkeypatch.setattr(kafka_source, "AGAIN_MAX", 10)
    source = ground.source()
    ground.transport().publish(ground.batch(range(30), keys=1))

    said = {number(message): message.is_again for message in take(source, 30)}

    known = 10 if isinstance(ground.server, Kafka) else 0
    assert said == {n: n < known for n in range(30)}


CONSUMER = """
import sys, time
from ledger.events.transports.registry import open_source

url, topic = sys.argv[1:]
source, received = open_source(url, topics=[topic], group="killed"), []
while len(received) < 40:
    received += source.poll(size=40 - len(received), timeout_s=1)
source.done(received[:15])
time.sleep(1)
print(f"taken {len(received)}, done 15", flush=True)
time.sleep(60)
"""


def test_what_is_done_before_what_precedes_it_takes_nothing_along(ground: Ground, monkeypatch) -> None:
    monkeypatch.setattr(redis_source, "CLAIM_AFTER_S", 0.2)
    source = ground.source()
    ground.transport().publish(ground.batch(range(10), keys=1))
    received = take(source, 10)
    source.done([received[1], *received[5:]])
    source.done([received[0]])
    source.close()
    time.sleep(0.3)

    again = {number(message) for message in take_rest(open_again(ground))}

    assert again >= {2, 3, 4}
    # Kafka knows one place to go on from; the others know each message.
    assert again == (set(range(2, 10)) if isinstance(ground.server, Kafka) else {2, 3, 4})


def test_what_is_done_does_not_come_again_after_a_farewell(ground: Ground) -> None:
    source = ground.source()
    ground.transport().publish(ground.batch(range(50)))
    received = take(source, 50)
    source.done(received[25:])
    source.done(received[:25])
    source.close()

    assert take_rest(open_again(ground), quiet_s=1) == []


def test_a_farewell_to_a_silent_broker_takes_seconds(ground: Ground) -> None:
    source, transport = ground.source(), ground.transport()
    transport.publish(ground.batch(range(20)))
    source.done(take(source, 20)[:10])
    ground.server.freeze()
    begun = time.monotonic()

    source.close()
    transport.close()

    assert time.monotonic() - begun < 8
    ground.server.thaw()


def test_nothing_is_published_at_once(ground: Ground) -> None:
    assert ground.transport().publish([]) == {}


def test_two_groups_have_everything_each(ground: Ground) -> None:
    one, other = ground.source("one"), ground.source("other")

    ground.transport().publish(ground.batch(range(30)))

    assert by_key(take(one, 30)) == by_key(take(other, 30))


def test_who_is_not_let_in_hears_it_without_the_password(ground: Ground) -> None:
    scheme = urlsplit(ground.server.url).scheme
    url = f"{scheme}://guest:canary@127.0.0.1:{ground.server.port}{WAYS_IN[scheme]}"

    with closing(transport_at(url, DEADLINE_S)) as transport, pytest.raises(TransportAway) as refused:
        transport.publish(ground.batch(range(1)))
    with closing(open_source(url, topics=[ground.topic], group="test")) as source, pytest.raises(TransportAway) as also:
        source.poll(size=1, timeout_s=0.1)

    assert "canary" not in f"{refused.value} {also.value}"


# This Kafka knows no passwords, and hangs up on who has one.
WAYS_IN = {"kafka": "?security.protocol=SASL_PLAINTEXT&sasl.mechanism=PLAIN", "amqp": "/%2F", "redis": "/0"}


def test_kafka_has_twelve_partitions_for_a_new_topic_unless_the_url_says_otherwise(on_kafka: Ground) -> None:
    on_kafka.transport().publish(on_kafka.batch(range(1)))
    with closing(open_transport(f"{on_kafka.server.url}?partitions=3")) as transport:
        transport.publish(batch(f"{on_kafka.topic}.dlq", range(1)))

    topics = AdminClient({"bootstrap.servers": on_kafka.server.bootstrap, "log_level": 0}).list_topics(timeout=5).topics

    assert len(topics[on_kafka.topic].partitions) == 12
    assert len(topics[f"{on_kafka.topic}.dlq"].partitions) == 3


def test_a_refusal_of_kafkas_own_concerns_one_message_though_it_ends_the_producer(on_kafka: Ground) -> None:
    admin = AdminClient({"bootstrap.servers": on_kafka.server.bootstrap, "log_level": 0})
    topic = NewTopic(on_kafka.topic, 2, 1, config={"max.message.bytes": "300000"})
    admin.create_topics([topic])[on_kafka.topic].result()
    sent = on_kafka.batch(range(200), size_bytes=100)
    sent[90] = sent[90]._replace(value=os.urandom(400_000))

    refused = on_kafka.transport().publish(sent)

    assert refused == {90: "Broker: Message size too large"}
    received = by_key(take_rest(open_again(on_kafka)))
    for key, numbers in by_key(sent[:90] + sent[91:]).items():
        assert firsts(received[key]) == numbers


def test_an_unknown_option_of_kafkas_url_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"no option partition\.$"):
        open_transport("kafka://a:9092?partition=12&sasl.password=canary")


def test_rabbitmq_tells_what_no_queue_is_bound_for_and_keeps_dead_letters_without_anybody(
    on_rabbitmq: Ground,
) -> None:
    refused = on_rabbitmq.transport().publish(on_rabbitmq.batch(range(2)))
    kept = on_rabbitmq.transport().publish(batch(f"{on_rabbitmq.topic}.dlq", range(2)))

    reason = f"No queue is bound to exchange {on_rabbitmq.topic} for transaction.completed."
    assert (refused, kept) == ({0: reason, 1: reason}, {})
    with declaring(on_rabbitmq.server.url) as channel:
        method, properties, value = channel.basic_get(f"{on_rabbitmq.topic}.dlq", auto_ack=True)
    assert (method.routing_key, value) == ("transaction.completed", b"0:")
    assert (properties.delivery_mode, properties.message_id) == (2, "id-0")


def test_rabbitmq_keeps_a_connection_that_has_nothing_to_do(
    on_rabbitmq: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "HEARTBEAT_S", 1)
    source, transport = on_rabbitmq.source(), on_rabbitmq.transport()
    assert isinstance(transport, RabbitTransport)
    transport.publish(on_rabbitmq.batch(range(1)))
    before = transport._link

    time.sleep(5)  # two heartbeats missed, and the broker closes

    assert transport.publish(on_rabbitmq.batch(range(1, 2))) == {}
    assert transport._link is before
    assert [number(message) for message in take(source, 2)] == [0, 1]


def test_a_message_of_rabbitmq_has_a_place_of_its_own_and_keeps_it_when_it_comes_again(on_rabbitmq: Ground) -> None:
    source, transport = on_rabbitmq.source(), on_rabbitmq.transport()
    transport.publish(on_rabbitmq.batch(range(1)))
    [before] = take(source, 1)
    source.close()

    transport.publish(on_rabbitmq.batch(range(1, 2)))
    again, other = take(open_again(on_rabbitmq), 2)

    assert (again.value, other.value) == (b"0:", b"1:")
    assert again.offset == before.offset != other.offset


def test_a_stream_forgets_its_oldest_messages(on_valkey: Ground) -> None:
    with closing(open_transport(f"{on_valkey.server.url}?maxlen=100")) as transport:
        for start in range(0, 1000, 200):
            transport.publish(on_valkey.batch(range(start, start + 200)))

    with connected(on_valkey.server) as client:
        assert 100 <= client.xlen(on_valkey.topic) < 300


def test_a_server_that_runs_out_of_memory_takes_nothing_of_a_batch(on_valkey: Ground) -> None:
    transport = on_valkey.transport()
    transport.publish(on_valkey.batch(range(10)))
    with connected(on_valkey.server) as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 500_000)
        try:
            with pytest.raises(TransportAway, match="memory"):
                transport.publish(on_valkey.batch(range(10, 1000), size_bytes=2_000))
        finally:
            client.config_set("maxmemory", "0")
        assert client.xlen(on_valkey.topic) == 10

    assert transport.publish(on_valkey.batch(range(10, 20))) == {}


def open_again(ground: Ground) -> Source:
    source = open_source(ground.server.url, topics=[ground.topic], group="test")
    ground._open.append(source)
    return source


def restore(server: Any, outage: str) -> None:
    server.thaw() if outage == "freeze" else server.start()


def patiently(publish: Callable[[], dict[int, str]]) -> None:
    """A broker that is back may need a moment."""
    deadline = time.monotonic() + 60
    while True:
        try:
            assert publish() == {}
        except TransportAway:
            assert time.monotonic() < deadline
        else:
            return


def take_through_trouble(source: Source, numbers: set[int]) -> list[Any]:
    """Poll until all these have come, and a while longer, whatever the source says meanwhile."""
    received: list[Any] = []
    deadline = time.monotonic() + 60
    while not numbers <= {number(message) for message in received}:
        assert time.monotonic() < deadline
        try:
            received += source.poll(size=500, timeout_s=0.2)
        except TransportAway:
            time.sleep(0.2)
    return [message for message in received if number(message) in numbers]
