"""The failure scenarios of spec 003, by its names, and those around them: real processes, real brokers, real kills."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from config.localstack.ports import free_port
from config.localstack.processes import wait_until
from ledger.events.failures import ATTEMPTS_MAX
from ledger.events.inbound import BODY_BYTES_MAX
from ledger.events.transports.base import Received, Source
from ledger.events.transports.registry import open_source
from ledger.models import Transaction
from tests.acceptance.inbox import STOPS_WITHIN_S, Inbox, all_completed, consuming, payments
from tests.acceptance.server import Relay, Server, running
from tests.acceptance.stumbling import KILLER, STONE
from tests.acceptance.told import begun, recorded, told_by, told_in_order
from tests.brokers.kafka import Kafka
from tests.brokers.rabbitmq import RabbitMQ
from tests.ledger.audit import offences
from tests.ledger.consumed import asked, message
from tests.ledger.followed import execute
from tests.ledger.locks import locked, waiting_for_locks
from tests.ledger.queueing import emptied
from tests.people import URL, Tenant, body
from tests.scratch import manage

STORM_S = float(os.environ.get("STORM_S", "10"))
CALLERS, CONSUMERS = 4, 3
# Python 3.12 warns of every fork beside threads; what runs between fork and exec here takes no lock.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


class Answer(NamedTuple):
    status: int
    transaction: str
    is_replay: bool


def ask(server: Server, bank: Tenant, sent: dict[str, Any], key: str, **headers: str) -> Answer:
    """Ask for a transaction; a refusal is raised."""
    told = {"Authorization": f"Bearer {bank.key}", "Idempotency-Key": key, "Prefer": "wait=20"} | headers
    told |= {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.base_url}{URL}", json.dumps(sent).encode(), told)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return Answer(answer.status, json.load(answer)["id"], answer.headers["Idempotent-Replayed"] == "true")


@pytest.fixture
def rich(bank: Tenant) -> Tenant:
    """A bank where alice and bob have plenty."""
    bank.person("alice", holding="10000.00")
    bank.person("bob", holding="10000.00")
    return bank


def moved(bank: Tenant) -> int:
    """Return what bob has got beyond what he had."""
    return bank.posted(bank.account("users:bob:USD")) - 1_000_000


def test_api_service_fails_during_transaction_creation(rich: Tenant, tmp_path: Path) -> None:
    """Committed, and the answer was not sent: the same key returns the existing transaction."""
    asks = {"booked": {"Prefer": "wait=20"}, "accepted": {"Prefer": "respond-async"}}
    server = Server(log=tmp_path / "web.log", DJANGO_SETTINGS_MODULE="tests.acceptance.dying")
    for key, headers in asks.items():
        with server, pytest.raises((OSError, HTTPException)):
            ask(server, rich, body(), key, **headers | {"X-Die-Unheard": "now"})
    existing = {row.idempotency_key: str(row.pk) for row in Transaction.objects.filter(idempotency_key__in=asks)}

    with server:
        answers = {key: ask(server, rich, body(), key, **headers) for key, headers in asks.items()}

    expected = {"booked": Answer(201, existing["booked"], True), "accepted": Answer(202, existing["accepted"], True)}
    assert answers == expected
    emptied()
    assert moved(rich) == 200
    assert offences(rich.client.pk) == []


def test_publisher_fails_after_db_commit(bank: Tenant, tmp_path: Path, kafka: Kafka) -> None:
    """Recorded and not published, since the relay was killed before or while it published: the next one does it."""
    begun("transport:kafka")
    people = [bank.person(f"p{number}", holding="100.00") for number in range(5)]
    keys = [UUID(str(person.id)) for person in people]

    def pay(count: int) -> None:
        for number in range(count):
            bank.move(people[number % 5].path, people[(number + 1) % 5].path, "0.01")

    def told(count: int) -> list[tuple[str, int]]:
        assert wait_until(lambda: sum(recorded(keys).values()) == count, timeout_s=10)
        with closing(open_source(kafka.url, topics=["transactions"], group=uuid4().hex)) as source:
            return told_by(source, set(map(str, keys)), count)

    relay = Relay(tmp_path / "relay.log", EVENTS_URL=kafka.url)
    with relay:
        assert len(told(10)) == 10
    # Silent from the beginning, so that nothing is on its way but in the relay itself.
    kafka.freeze()
    with relay:
        pay(50)
        assert wait_until(lambda: sum(recorded(keys).values()) == 60, timeout_s=10)
        time.sleep(1)
    pay(50)
    kafka.thaw()

    with relay:
        told_in_order(told(110), recorded(keys))


def attempts_in(log: Path) -> list[tuple[int, datetime]]:
    """Return the failed attempts that a consumer tells of, and when they failed."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"consumer.failed"' in line]
    return [(line["attempts"], datetime.fromisoformat(line["timestamp"])) for line in lines]


def test_worker_fails_during_processing(rich: Tenant, tmp_path: Path, rabbitmq: RabbitMQ) -> None:
    """Killed with messages in hand: they come again, and have one effect. What fails in itself is tried again with
    growing pauses, while others go on; after five attempts it is in the DLQ.
    """
    begun("transport:rabbitmq")
    inbox, topics = Inbox(rich, rabbitmq.url), ["transactions", "transactions.dlq"]
    consumers = [
        inbox.consumer(tmp_path / f"{name}.log", DJANGO_SETTINGS_MODULE="tests.acceptance.stumbling")
        for name in ("killed", "next")
    ]
    inbox.send(payments("held", 50, key="alice"))
    with locked(rich.account("users:alice:USD")), consumers[0]:
        assert wait_until(lambda: waiting_for_locks() > 0, timeout_s=10, every_s=0.01)
    assert inbox.outcomes() == {}
    stone = message(asked("1.00", description=STONE.decode()), id="stone", key="alice")
    inbox.send([stone, *payments("behind", 3, key="alice"), *payments("beside", 3, key="bob")])
    at_once = all_completed("held", 50) | all_completed("beside", 3)

    with closing(open_source(rabbitmq.url, topics=topics, group=uuid4().hex)) as source, consuming(consumers[1]):
        assert source.poll(size=1, timeout_s=0.05) == []
        with running(Relay(tmp_path / "relay.log", EVENTS_URL=rabbitmq.url)):
            assert wait_until(lambda: inbox.outcomes() == at_once, timeout_s=5), inbox.outcomes()
            dead = dead_of(source, inbox)
        assert wait_until(lambda: len(inbox.outcomes()) == len(at_once) + 3, timeout_s=5)

    assert inbox.outcomes() == at_once | all_completed("behind", 3)
    counts, times = zip(*attempts_in(tmp_path / "next.log"), strict=True)
    assert counts == (1, 2, 3, 4, 5)
    pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert all(pause > 0.5 * 2**number for number, pause in enumerate(pauses)), pauses
    [letter] = inbox.letters()
    assert (letter.event_id, letter.error_code, letter.attempts) == ("stone", "unexpected_error", 5)
    assert (bytes(letter.body), letter.headers) == (stone.value, stone.headers)
    assert (dead.topic, dead.key, dead.value) == ("transactions.dlq", "alice", stone.value)
    assert dead.headers.items() >= stone.headers.items()
    assert (dead.headers["x-error-message"], dead.headers["x-attempts"]) == (letter.error, "5")
    assert moved(rich) == 5600
    assert offences(rich.client.pk) == []


def test_a_message_that_kills_its_consumer_is_a_dead_letter_after_five_and_its_neighbours_go_through_once(
    rich: Tenant, tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    inbox, log = Inbox(rich, rabbitmq.url), tmp_path / "consumer.log"
    killer = message(asked("1.00", description=KILLER.decode()), id="killer", key="alice")
    inbox.send([*payments("before", 20, key="alice"), killer, *payments("behind", 3, key="alice")])
    inbox.send(payments("beside", 20, key="bob"))
    consumer, deaths = inbox.consumer(log, DJANGO_SETTINGS_MODULE="tests.acceptance.stumbling"), 0
    expected = all_completed("before", 20) | all_completed("behind", 3) | all_completed("beside", 20)

    def has_died_or_is_through() -> bool:
        return process.poll() is not None or (inbox.letters() != [] and inbox.outcomes() == expected)

    try:
        while deaths < 10 and inbox.outcomes() != expected:
            # Half a minute after TRANSACTION_TIMEOUT it were tried again anyway.
            execute(
                "UPDATE events_parkedmessage SET next_attempt_at = now() WHERE consumer = %(follower)s",
                f"inbound:{inbox.topic}",
            )
            process = consumer.launch()
            assert wait_until(has_died_or_is_through, timeout_s=40), (deaths, inbox.outcomes())
            deaths += process.poll() == -signal.SIGKILL
    finally:
        consumer.kill()

    assert deaths == ATTEMPTS_MAX
    [letter] = inbox.letters()
    assert (letter.event_id, letter.error_code, letter.attempts) == ("killer", "process_died", ATTEMPTS_MAX)
    assert bytes(letter.body) == killer.value
    assert letter.headers.items() >= killer.headers.items()
    assert inbox.outcomes() == expected
    assert moved(rich) == 4300
    assert offences(rich.client.pk) == []


def dead_of(source: Source, inbox: Inbox) -> Received:
    """Take from the topic of dead letters until one of an inbox has come."""
    dead: list[Received] = []

    def come() -> bool:
        received = source.poll(size=100, timeout_s=0.2)
        dead.extend(one for one in received if one.headers.get("x-original-topic") == inbox.topic)
        source.done(received)
        return dead != []

    assert wait_until(come, timeout_s=25)
    return dead[0]


def test_duplicate_event_delivery(rich: Tenant, tmp_path: Path, kafka: Kafka) -> None:
    """The same messages at different offsets, at once, later and after a restart: one effect, one dead letter."""
    inbox, log = Inbox(rich, kafka.url), tmp_path / "consumer.log"
    same = [
        *payments("same", 20, key="k"),
        message(asked("99999.00"), id="too-much", key="k"),
        message(asked(colour="red"), id="foreign", key="k"),
    ]
    expected = all_completed("same", 20) | {"too-much": "failed"}
    inbox.send([*same, *same])

    for last in ("first", "second"):
        with consuming(inbox.consumer(log)):
            assert wait_until(lambda: inbox.outcomes() == expected, timeout_s=20), inbox.outcomes()
            inbox.send([*same, message(asked("1.00"), id=last, key="k")])
            expected[last] = "completed"
            assert wait_until(lambda: inbox.outcomes() == expected, timeout_s=20), inbox.outcomes()

    assert moved(rich) == 2200
    assert sorted((one.event_id, one.attempts) for one in inbox.letters()) == [("foreign", 1), ("too-much", 1)]
    assert offences(rich.client.pk) == []


def test_concurrent_transaction_processing(rich: Tenant, tmp_path: Path, kafka: Kafka) -> None:
    """Consumers, one of which is killed, and clients of the API move money between the same two accounts."""
    inbox = Inbox(rich, kafka.url)
    consumers = [inbox.consumer(tmp_path / f"consumer-{number}.log") for number in range(CONSUMERS)]
    server = Server(log=tmp_path / "web.log")
    there = [one for key in range(12) for one in payments(f"there-{key}", 25, key=str(key), amount="2.00")]
    back = [one for key in range(12) for one in payments(f"back-{key}", 25, key=str(key), debit="bob", credit="alice")]
    expected = dict.fromkeys(
        [f"{name}-{key}-{n}" for name in ("there", "back") for key in range(12) for n in range(25)]
    )

    def call(number: int) -> Counter[int]:
        return Counter(ask(server, rich, body("0.01"), f"call-{number}-{n}").status for n in range(50))

    with running(server, *consumers), ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(call, number) for number in range(CALLERS)]
        inbox.send(there)
        assert wait_until(lambda: len(inbox.outcomes()) > 0, timeout_s=20, every_s=0.01)
        consumers[0].kill()
        inbox.send([*back, *there[::2]])
        assert sum((one.result() for one in calls), Counter()) == {201: CALLERS * 50}
        assert wait_until(lambda: inbox.outcomes().keys() == expected.keys(), timeout_s=40), len(inbox.outcomes())
        assert [one.stop(within_s=STOPS_WITHIN_S) for one in consumers] == [0] * CONSUMERS

    assert set(inbox.outcomes().values()) == {"completed"}
    assert moved(rich) == 300 * 200 - 300 * 100 + CALLERS * 50
    assert inbox.letters() == []
    assert offences(rich.client.pk) == []


def test_while_the_broker_is_down_no_request_fails_and_the_backlog_drains_in_order(
    bank: Tenant, tmp_path: Path, kafka: Kafka
) -> None:
    begun("transport:kafka")
    people = [bank.person(f"p{number}", holding="1000.00") for number in range(5)]
    keys, stop = [UUID(str(person.id)) for person in people], threading.Event()
    server, relay = Server(log=tmp_path / "web.log"), Relay(tmp_path / "relay.log", EVENTS_URL=kafka.url)

    def call(number: int) -> Counter[int]:
        statuses = Counter[int]()
        while not stop.wait(0.01):
            sent = body("0.01", debit=f"p{number}", credit=f"p{number + 1}")
            statuses[ask(server, bank, sent, str(uuid4())).status] += 1
        return statuses

    with running(server, relay), ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(call, number) for number in range(CALLERS)]
        time.sleep(1)
        kafka.kill()
        before = Transaction.objects.filter(client=bank.client).count()
        time.sleep(STORM_S)
        backlog = Transaction.objects.filter(client=bank.client).count() - before
        kafka.start()
        stop.set()
        statuses = sum((one.result() for one in calls), Counter[int]())
        count = sum(statuses.values()) + 2 * len(people)
        assert wait_until(lambda: sum(recorded(keys).values()) == count, timeout_s=20)
        with closing(open_source(kafka.url, topics=["transactions"], group=uuid4().hex)) as source:
            told_in_order(told_by(source, set(map(str, keys)), count), recorded(keys))

    assert statuses.keys() == {201}
    assert backlog > 10 * STORM_S
    assert "relay.away" in relay.said()
    assert offences(bank.client.pk) == []


def bad_messages() -> dict[str, tuple[bytes | None, str, str]]:
    """Return bad messages by their name: the value, and the code and id of the dead letter."""

    def told(data: Any, **more: Any) -> bytes:
        return message(data, **more).value

    return {
        "no JSON": (b"\xff\xfe", "malformed_message", ""),
        "a tombstone": (None, "malformed_message", ""),
        "no CloudEvent": (b'{"amount": "1.00"}', "malformed_message", ""),
        "of another version": (told(asked(), id="v", specversion="0.3"), "malformed_message", ""),
        "too large": (b" " * (BODY_BYTES_MAX + 1), "message_too_large", ""),
        "nested without an end": (told(0).replace(b'"data": 0', b'"data": ' + b"[" * 100_000), "malformed_message", ""),
        "a NUL in its source": (told(asked(), source="/bank\0"), "malformed_message", ""),
        "of a foreign schema": (told({"order": 7}, id="foreign"), "field_unknown", "foreign"),
        "an unknown account": (told(asked("3.00", credit="dave"), id="dave"), "account_unknown", "dave"),
        "too much": (told(asked("99999.00"), id="much"), "insufficient_funds", "much"),
    }


def test_bad_messages_among_good_ones_are_dead_letters_and_hold_up_nobody(
    rich: Tenant, tmp_path: Path, kafka: Kafka
) -> None:
    inbox, bad = Inbox(rich, kafka.url), bad_messages()
    good = payments("good", len(bad) + 1, key="k")
    headers: dict[str, str | bytes | None] = {"content-type": "application/cloudevents+json", "shop": "7"}
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([NewTopic(inbox.topic, 1, 1, config={"max.message.bytes": "2000000"})])[inbox.topic].result()
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "message.max.bytes": 2_000_000})
    producer.produce(inbox.topic, good[0].value, "k", headers=headers)
    for (value, _, event_id), after in zip(bad.values(), good[1:], strict=True):
        producer.produce(inbox.topic, value, event_id or "k", headers=headers)
        producer.produce(inbox.topic, after.value, "k", headers=headers)
    assert producer.flush(10) == 0

    with consuming(inbox.consumer(tmp_path / "consumer.log")):
        assert wait_until(lambda: len(inbox.outcomes()) == len(good) + 1, timeout_s=20), inbox.outcomes()
        assert wait_until(lambda: len(inbox.letters()) == len(bad), timeout_s=10), inbox.letters()

    assert inbox.outcomes() == all_completed("good", len(good)) | {"much": "failed"}
    found = sorted(inbox.letters(), key=lambda letter: int(letter.offset))
    for number, (letter, (value, code, event_id)) in enumerate(zip(found, bad.values(), strict=True)):
        assert (letter.partition, int(letter.offset), letter.key) == (0, 2 * number + 1, event_id or "k")
        assert (letter.headers, bytes(letter.body)) == (headers, value or b"")
        assert (letter.error_code, letter.event_id, letter.attempts) == (code, event_id, 1)
        assert letter.error
    assert moved(rich) == 100 * len(good)

    rich.person("dave")
    asked_for = ["--client", rich.client.name, "--code", "account_unknown", "--json"]
    replayed = manage("replay_dead_letters", *asked_for, **inbox.environment)
    assert replayed.returncode == 0, replayed.stderr
    assert rich.posted(rich.account("users:dave:USD")) == 300
    assert [one.event_id for one in inbox.letters() if one.status == "replayed"] == ["dave"]
    assert offences(rich.client.pk) == []


def test_told_to_stop_a_consumer_and_a_relay_end_in_time_and_the_next_go_on(
    rich: Tenant, tmp_path: Path, kafka: Kafka
) -> None:
    """With a message that waits for its next attempt, others that have just come, and a broker that is silent."""
    begun("transport:kafka")
    inbox, alice = Inbox(rich, kafka.url), UUID(str(rich.account("users:alice:USD").id))
    before = recorded([alice])[str(alice)]
    relay, consumer = Relay(tmp_path / "relay.log", EVENTS_URL=kafka.url), inbox.consumer(tmp_path / "consumer.log")
    stumbling = inbox.consumer(tmp_path / "stumbling.log", DJANGO_SETTINGS_MODULE="tests.acceptance.stumbling")
    stone = message(asked("1.00", description=STONE.decode()), id="stone-0", key="stone")
    inbox.send([stone, *payments("many", 1000, key="k")])

    with running(relay, stumbling):
        assert wait_until(lambda: "consumer.failed" in stumbling.said() and inbox.outcomes() != {}, timeout_s=20)
        assert stumbling.stop(within_s=STOPS_WITHIN_S) == 0
        kafka.freeze()
        rich.move("users:alice:USD", "users:bob:USD", "1.00")
        time.sleep(0.5)  # the relay publishes it, and nobody confirms
        assert relay.stop(within_s=STOPS_WITHIN_S) == 0
    kafka.thaw()

    expected = all_completed("many", 1000) | all_completed("stone", 1)
    with running(relay, consumer):
        assert wait_until(lambda: inbox.outcomes() == expected, timeout_s=30), len(inbox.outcomes())
        with closing(open_source(kafka.url, topics=["transactions"], group=uuid4().hex)) as source:
            told = told_by(source, {str(alice)}, 1002)
        kafka.freeze()
        assert consumer.stop(within_s=STOPS_WITHIN_S) == 0
    told_in_order([(key, sequence - before) for key, sequence in told], {str(alice): 1002})
    assert (moved(rich), inbox.letters()) == (100_200, [])


def test_a_consumer_that_has_nothing_to_consume_says_what_to_write_where(bank: Tenant, tmp_path: Path) -> None:
    client, url = bank.client.public_id, f"kafka://127.0.0.1:{free_port(0)}"
    wrong = {
        ("t?client=nobody", url): "There is no client 'nobody': write t?client=name-or-id in INBOUND_TOPICS.",
        (f"t?client={client}&mode=dream", url): "INBOUND_TOPICS: nobody knows the mode 'dream' of t; there is execute.",
        ("t?colour=red", url): "INBOUND_TOPICS is not a list like topic?client=acme&source=bank-core&mode=execute",
        ("", url): "INBOUND_TOPICS names no topic: write one there, such as transactions.inbound.",
        (f"t?client={client}", ""): "EVENTS_URL names no broker: write one there, such as kafka://host:9092.",
        (f"t?client={client}", f"{url}?partition=3"): "EVENTS_URL: A kafka:// URL has no option partition.",
    }
    asked_for = [{"INBOUND_TOPICS": topics, "EVENTS_URL": urls} for topics, urls in wrong]
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda variables: manage("consume_transactions", **variables), asked_for))

    assert [one.returncode for one in ended] == [1] * len(wrong)
    said = [one.stderr.splitlines()[-1].strip().removeprefix("CommandError: ") for one in ended]
    assert said == list(wrong.values())


def test_a_consumer_whose_broker_is_not_there_says_where_it_looks_and_ends_in_time(
    bank: Tenant, tmp_path: Path
) -> None:
    port = free_port(0)
    urls = [f"kafka://127.0.0.1:{port}", f"amqp://127.0.0.1:{port}", f"redis://127.0.0.1:{port}"]
    consumer = Inbox(bank, ",".join(urls)).consumer(tmp_path / "consumer.log")

    def places() -> int:
        lines = [line for line in consumer.said().splitlines() if '"consumer.away"' in line]
        return len(
            {name for name in ("Kafka", "RabbitMQ", "Redis") for line in lines if name in line and str(port) in line}
        )

    with consumer:
        assert wait_until(lambda: places() == 3, timeout_s=10), consumer.said()
        assert consumer.stop(within_s=STOPS_WITHIN_S) == 0
