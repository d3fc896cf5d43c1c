"""A consumer that is long at work on what it took: its group keeps it, and what it loses meanwhile is done once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from confluent_kafka import Consumer as Member
from confluent_kafka import TopicPartition

from config.localstack.processes import wait_until
from ledger.api.inbound import execute
from ledger.events import staying
from ledger.events.consumer import Consumer
from ledger.events.in_hand import Binding, Bound, Note
from ledger.events.inbound import Inbound
from ledger.events.models import DeadLetter
from ledger.events.transports.base import Message
from ledger.events.transports.kafka import source as kafka_source
from ledger.events.transports.redis_streams import source as redis_source
from ledger.events.transports.registry import open_source, open_transport
from ledger.models import Transaction
from tests.brokers.fixtures import PARTITIONS
from tests.brokers.mock_cluster import MockCluster
from tests.ledger.consumed import asked, message
from tests.people import Tenant
from tests.valkey import Server as Valkey

GROUP = "slow"
POLL_WITHIN_MS, SLOW_S = 4_000, 6.0


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockCluster]:
    """A Kafka whose consumers must poll every four seconds; it makes a group wait for three."""
    monkeypatch.setattr(kafka_source, "SESSION_MS", POLL_WITHIN_MS)
    monkeypatch.setattr(kafka_source, "HEARTBEAT_MS", 200)
    monkeypatch.setattr(kafka_source, "POLL_WITHIN_MS", POLL_WITHIN_MS)
    monkeypatch.setattr(staying, "STAY_EVERY_S", 0.3)
    with MockCluster({"payments": PARTITIONS}) as cluster:
        yield cluster


@pytest.fixture
def people(bank: Tenant) -> Tenant:
    """A bank where alice has ten."""
    bank.person("alice", holding="10.00")
    bank.person("bob")
    return bank


@dataclass
class Slow:
    """A handler that takes long for some ids, and books."""

    slow: frozenset[str] = frozenset()
    is_at_work: threading.Event = field(default_factory=threading.Event)
    took: Counter[str] = field(default_factory=Counter)

    def __call__(self, binding: Binding, events: Sequence[Inbound], note: Note) -> None:
        if self.slow & {event.id for event in events}:
            self.is_at_work.set()
            time.sleep(SLOW_S)
        execute(binding, events, note)
        self.took.update(event.id for event in events)


@contextmanager
def consuming(url: str, topic: str, bank: Tenant, handle: Slow) -> Iterator[None]:
    """Run a member of the group in a thread of its own."""
    bound = {topic: Bound(Binding(topic, bank.client.pk, "core"), handle)}
    consumer, stop = Consumer(open_source(url, topics=[topic], group=GROUP), bound), threading.Event()
    thread = threading.Thread(target=consumer.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def send(url: str, topic: str, *names: str) -> None:
    """Ask for payments of 0.01, whose keys are their ids."""
    with closing(open_transport(url)) as transport:
        told = [message(asked("0.01"), id=name) for name in names]
        sent = [Message(topic, name, one.value, one.headers) for name, one in zip(names, told, strict=True)]
        assert transport.publish(sent) == {}


def booked(bank: Tenant) -> Counter[str]:
    found = Transaction.objects.filter(client=bank.client, idempotency_key__startswith="core:", status="completed")
    return Counter(str(key).removeprefix("core:") for key in found.values_list("idempotency_key", flat=True))


def committed(url: str, topic: str) -> int:
    """Return how many messages of a topic the group has done."""
    member = Member({"bootstrap.servers": url.removeprefix("kafka://"), "group.id": GROUP})
    with closing(member):
        found = member.committed([TopicPartition(topic, number) for number in range(PARTITIONS)], timeout=5)
    return sum(max(0, place.offset) for place in found)


def test_one_that_takes_longer_than_its_group_waits_stays_in_it_and_is_told_nothing_twice(
    people: Tenant, cluster: MockCluster
) -> None:
    names = [f"{uuid4().hex[:8]}-{n}" for n in range(60)]
    send(cluster.url, "payments", *names)
    handle = Slow(frozenset(names[:1]))

    with consuming(cluster.url, "payments", people, handle):
        assert wait_until(lambda: len(booked(people)) == len(names), timeout_s=30)
        assert wait_until(lambda: committed(cluster.url, "payments") == len(names), timeout_s=10)

    assert handle.took == Counter(names)
    assert booked(people) == Counter(names)


def test_what_goes_to_another_while_one_is_at_work_on_it_is_booked_once_and_no_letter_is_doubled(
    people: Tenant, cluster: MockCluster
) -> None:
    names = [f"{uuid4().hex[:8]}-{n}" for n in range(60)]
    send(cluster.url, "payments", *names)
    with closing(open_transport(cluster.url)) as transport:
        bad = [Message("payments", f"bad-{n}", b"[]", {}) for n in range(24)]
        foreign = [message(asked(colour="red"), id=f"foreign-{n}") for n in range(24)]
        bad += [Message("payments", f"foreign-{n}", one.value, one.headers) for n, one in enumerate(foreign)]
        assert transport.publish(bad) == {}
    slow, other, count = Slow(frozenset(names)), Slow(), len(names) + len(bad)

    with ExitStack() as stack:
        stack.enter_context(consuming(cluster.url, "payments", people, slow))
        assert slow.is_at_work.wait(30)
        stack.enter_context(consuming(cluster.url, "payments", people, other))
        assert wait_until(lambda: committed(cluster.url, "payments") == count, timeout_s=40)

    assert len(other.took) > 0
    assert booked(people) == Counter(names)
    letters = DeadLetter.objects.filter(client=people.client)
    assert Counter(letters.values_list("error_code", flat=True)) == {"malformed_message": 24, "field_unknown": 24}
    assert len({(one.partition, one.offset) for one in letters}) == len(bad)


def test_what_one_is_at_work_on_is_not_claimed_by_another(
    people: Tenant, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_source, "CLAIM_AFTER_S", 1.5)
    monkeypatch.setattr(redis_source, "CLAIM_EVERY_S", 0.2)
    monkeypatch.setattr(staying, "STAY_EVERY_S", 0.3)
    topic, names = f"payments-{uuid4().hex}", [f"{uuid4().hex[:8]}-{n}" for n in range(20)]
    slow, other = Slow(frozenset(names)), Slow()

    with Valkey(tmp_path) as valkey, ExitStack() as stack:
        send(valkey.url, topic, *names)
        stack.enter_context(consuming(valkey.url, topic, people, slow))
        assert slow.is_at_work.wait(30)
        stack.enter_context(consuming(valkey.url, topic, people, other))
        assert wait_until(lambda: len(booked(people)) == len(names), timeout_s=30)

    assert (slow.took, other.took) == (Counter(names), Counter())
