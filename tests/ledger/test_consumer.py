"""Messages from elsewhere: each has its effect once, or is a dead letter, and none holds up another's key."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, transaction
from prometheus_client import REGISTRY

from config.localstack.processes import wait_until
from config.runtime.errors import DomainError, Kind
from ledger.events import consumer as kit
from ledger.events import handling, parking, processed, suspects
from ledger.events.consumer import Consumer
from ledger.events.envelopes import source_of
from ledger.events.failures import ATTEMPTS_MAX
from ledger.events.in_hand import Binding, Note
from ledger.events.inbound import BODY_BYTES_MAX, Inbound, read_message
from ledger.events.models import DeadLetter, OutboxEvent
from ledger.events.transports.base import Received, TransportAway
from ledger.models import Transaction
from tests.ledger.consumed import Shelf, asked, consumer_of, message
from tests.ledger.followed import execute
from tests.people import Tenant


def letters(bank: Tenant) -> list[tuple[str, str, int]]:
    rows = DeadLetter.objects.filter(client=bank.client).order_by("created_at")
    return [(row.event_id, row.error_code, row.attempts) for row in rows]


def bob_has(bank: Tenant) -> int:
    return bank.posted(bank.account("users:bob:USD"))


class Moody:
    """A handler that fails for some ids, and remembers in which order it took the others."""

    def __init__(self, **fails: Exception) -> None:
        self.fails: dict[str, Exception] = fails
        self.took: list[str] = []

    def __call__(self, binding: Binding, events: Sequence[Inbound], note: Note) -> None:
        with transaction.atomic(durable=True):
            for event in events:
                if event.id in self.fails:
                    raise self.fails[event.id]
            note({})
        self.took += [event.id for event in events]


class Busy(DomainError):
    """Not now."""

    kind, code = Kind.BUSY, "busy_now"


class Refused(DomainError):
    """Never."""

    kind, code = Kind.CONFLICT, "refused"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt is due at once."""
    monkeypatch.setattr(handling, "backoff", lambda _: timedelta(0))


def test_a_message_is_booked_once_under_the_key_of_its_source_and_id(people: Tenant) -> None:
    shelf = Shelf([message(asked("1.00"), id="m-1"), message(asked("2.00"), id="m-2")])
    assert consumer_of(people, shelf).consume(timeout_s=0) == 2
    assert bob_has(people) == 300
    keys = Transaction.objects.filter(client=people.client).values_list("idempotency_key", flat=True)
    assert {"core:m-1", "core:m-2"} <= set(keys)
    assert (len(shelf.done_with), shelf.laid, letters(people)) == (2, [], [])


def test_a_message_that_is_delivered_again_has_no_second_effect(people: Tenant) -> None:
    one = message(asked("1.00"), id="m-1")
    shelf = Shelf([one, one._replace(offset="again")])
    consumer = consumer_of(people, shelf)
    consumer.consume(timeout_s=0)
    (topic,) = consumer.bound
    shelf.laid.append(one._replace(topic=topic, offset="and again"))
    consumer.consume(timeout_s=0)
    assert (bob_has(people), letters(people), len(shelf.done_with)) == (100, [], 3)


def test_what_the_books_refuse_is_a_failed_transaction_and_a_dead_letter_at_the_first_attempt(people: Tenant) -> None:
    shelf = Shelf([message(asked("11.00"), id="m-1", key="k"), message(asked("1.00"), id="m-2", key="k")])
    consumer_of(people, shelf).consume(timeout_s=0)
    row = Transaction.objects.get(client=people.client, idempotency_key="core:m-1")
    assert (row.status, row.error_code, bob_has(people)) == ("failed", "insufficient_funds", 100)
    assert letters(people) == [("m-1", "insufficient_funds", 1)]
    letter = DeadLetter.objects.get(client=people.client)
    assert (letter.partition, letter.key, letter.headers) == (3, "k", {"content-type": "application/cloudevents+json"})
    assert json.loads(bytes(letter.body))["data"] == asked("11.00")
    assert len(shelf.done_with) == 2


MALFORMED: dict[str, tuple[Any, str]] = {
    "no JSON": (b"\xff\xfe", "malformed_message"),
    "not an object": (b"[]", "malformed_message"),
    "no CloudEvent": (b'{"amount": "1.00"}', "malformed_message"),
    "of another version": (message(asked(), specversion="0.3").value, "malformed_message"),
    "without an id": (message(asked(), id=" ").value, "malformed_message"),
    "an id too long": (message(asked(), id="x" * 129).value, "malformed_message"),
    "a source too long": (message(asked(), source="x" * 129).value, "malformed_message"),
    "nested without an end": (
        message(0).value.replace(b'"data": 0', b'"data": ' + b"[" * 100_000),
        "malformed_message",
    ),
    "a NUL in its source": (message(asked(), source="/bank\0").value, "malformed_message"),
    "no data": (b'{"specversion":"1.0","id":"a","source":"s","type":"t"}', "malformed_message"),
    "too large": (b" " * (BODY_BYTES_MAX + 1), "message_too_large"),
    "foreign data": (message({"order": 7}).value, "field_unknown"),
    "an unknown field": (message(asked(colour="red")).value, "field_unknown"),
    "an amount as a number": (message(asked() | {"amount": 1.0}).value, "field_type"),
    "an unknown account": (message(asked(debit="mallory")).value, "account_unknown"),
    "an unknown type": (message(asked() | {"type": "gift"}).value, "type_unknown"),
    "a key twice": (message(0).value.replace(b'"data": 0', b'"data": {"type":"a","type":"b"}'), "json_duplicate_key"),
    "a NUL": (message(asked(description="\0")).value, "json_nul"),
}


@pytest.mark.parametrize(("value", "code"), MALFORMED.values(), ids=MALFORMED)
def test_a_bad_message_is_a_dead_letter_and_the_next_one_is_booked(people: Tenant, value: bytes, code: str) -> None:
    bad = message(asked(), key="k")._replace(value=value)
    shelf = Shelf([bad, message(asked("1.00"), key="k")])
    consumer = consumer_of(people, shelf)
    consumer.consume(timeout_s=0)
    consumer.consume(timeout_s=0)
    assert [found for _, found, _ in letters(people)] == [code]
    assert bytes(DeadLetter.objects.get(client=people.client).body) == value
    assert (bob_has(people), len(shelf.done_with)) == (100, 2)


def test_a_message_in_binary_mode_is_read_by_its_headers(people: Tenant) -> None:
    names = {"specversion": "1.0", "id": "b-1", "source": "/bank", "type": "t", "traceparent": "00-" + "1" * 51}
    kafka = {"content-type": "application/json"} | {f"ce_{name}": value for name, value in names.items()}
    amqp = {f"cloudEvents:{name}": value for name, value in (names | {"id": "b-2"}).items()}
    shelf = Shelf(
        [message(0)._replace(value=json.dumps(asked("1.00")).encode(), headers=headers) for headers in (kafka, amqp)]
    )
    consumer_of(people, shelf).consume(timeout_s=0)
    assert bob_has(people) == 200
    keys = Transaction.objects.filter(client=people.client).values_list("idempotency_key", flat=True)
    assert {"core:b-1", "core:b-2"} <= set(keys)


def test_the_trace_of_a_message_is_that_of_its_event(people: Tenant) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    consumer_of(people, Shelf([message(asked("1.00"), traceparent=trace)])).consume(timeout_s=0)
    told = OutboxEvent.objects.filter(client_id=people.client.pk, type="transaction.completed").order_by("-id")[0]
    assert told.trace == trace


def test_a_trace_that_is_none_is_left_out(people: Tenant) -> None:
    consumer_of(people, Shelf([message(asked("1.00"), traceparent="00-\0")])).consume(timeout_s=0)
    told = OutboxEvent.objects.filter(client_id=people.client.pk, type="transaction.completed").order_by("-id")[0]
    assert (told.trace, bob_has(people)) == ("", 100)


def test_what_is_refused_and_comes_twice_at_once_is_one_dead_letter(people: Tenant) -> None:
    shelf = Shelf([message(asked(colour="red"), id="m-1"), message(asked(colour="red"), id="m-1"), message(asked())])
    consumer_of(people, shelf).consume(timeout_s=0)
    assert letters(people) == [("m-1", "field_unknown", 1)]
    assert (bob_has(people), len(shelf.done_with)) == (100, 3)


def test_the_letter_of_what_cannot_be_read_has_its_trace_and_no_other_text(people: Tenant) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    bad = [message(0)._replace(value=b"[]", headers={"traceparent": told}) for told in (trace, "00-a\r\nb")]
    consumer_of(people, Shelf(bad)).consume(timeout_s=0)
    rows = DeadLetter.objects.filter(client=people.client).order_by("created_at")
    assert [row.trace for row in rows] == [trace, ""]


def test_our_own_messages_are_passed_over_and_those_of_another_installation_are_not(people: Tenant) -> None:
    clients = [people.client.public_id, uuid4()]
    shelf = Shelf([message(asked(f"{n}.00"), source=source_of(client)) for n, client in enumerate(clients, 1)])
    consumer = consumer_of(people, shelf)
    consumer.consume(timeout_s=0)
    assert (bob_has(people), letters(people), len(shelf.done_with)) == (200, [], 2)
    (topic,) = consumer.bound
    counts = [
        REGISTRY.get_sample_value("inbound_messages_total", {"topic": topic, "outcome": one}) for one in ("own", "done")
    ]
    assert counts == [1, 1]


def test_one_that_may_pass_is_tried_five_times_while_others_go_on(people: Tenant, impatient: None) -> None:
    moody = Moody(bad=Busy())
    shelf = Shelf([message(0, id="bad", key="k"), message(0, id="behind", key="k"), message(0, id="other", key="o")])
    consumer = consumer_of(people, shelf, moody)
    consumer.consume(timeout_s=0)
    assert (moody.took, len(shelf.done_with)) == (["other"], 3)
    for _ in range(ATTEMPTS_MAX - 3):
        consumer.consume(timeout_s=0)
    assert (moody.took, letters(people)) == (["other"], [])
    consumer.consume(timeout_s=0)
    assert letters(people) == [("bad", "busy_now", ATTEMPTS_MAX)]
    assert (moody.took, len(shelf.done_with)) == (["other", "behind"], 3)


def test_one_that_has_passed_lets_go_what_waits_behind_it_in_order(people: Tenant, impatient: None) -> None:
    moody = Moody(bad=Busy())
    shelf = Shelf([message(0, id=name, key="k") for name in ("bad", "second", "third")])
    consumer = consumer_of(people, shelf, moody)
    consumer.consume(timeout_s=0)
    moody.fails.clear()
    consumer.consume(timeout_s=0)
    consumer.consume(timeout_s=0)
    assert (moody.took, letters(people)) == (["bad", "second", "third"], [])


def test_with_too_much_parked_no_more_is_taken(
    people: Tenant, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "PARKED_MAX", 2)
    moody = Moody(bad=Busy())
    shelf = Shelf([message(0, id="bad", key="k"), message(0, id="behind", key="k")])
    consumer = consumer_of(people, shelf, moody)
    consumer.consume(timeout_s=0)
    shelf.laid.append(message(0, id="other")._replace(topic=next(iter(consumer.bound))))
    assert consumer.consume(timeout_s=0) == 0
    moody.fails.clear()
    consumer.consume(timeout_s=0)
    assert moody.took == ["bad", "behind"]
    consumer.consume(timeout_s=0)
    assert moody.took == ["bad", "behind", "other"]


def test_a_key_whose_messages_all_fail_holds_up_nobody(
    people: Tenant, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    flood = [message(0, id=f"bad-{n}", key="flood") for n in range(2100)]
    others = [message(0, id=f"good-{n}", key=f"k{n % 7}") for n in range(21)]
    moody = Moody(**{one.id: Busy() for one in map(read_message, flood)})
    shelf = Shelf([one for n, good in enumerate(others) for one in (*flood[100 * n : 100 * (n + 1)], good)])
    consumer = consumer_of(people, shelf, moody)
    monkeypatch.setattr(kit, "PARKED_S", 0.0)
    for _ in range(5):
        consumer.consume(timeout_s=0)
    assert moody.took == [f"good-{n}" for n in range(21)]
    assert (len(shelf.done_with), letters(people)) == (2121, [])
    assert parking.count_parked(f"inbound:{next(iter(consumer.bound))}") == 2100
    assert consumer._in_hand == []


def test_what_comes_later_waits_behind_what_another_consumer_has_parked(people: Tenant, impatient: None) -> None:
    moody = Moody(bad=Busy())
    shelf = Shelf([message(0, id="bad", key="k")])
    first = consumer_of(people, shelf, moody)
    first.consume(timeout_s=0)
    (topic,) = first.bound
    shelf.laid += [message(0, id=name, key=key)._replace(topic=topic) for name, key in (("behind", "k"), ("else", "o"))]
    heir = Consumer(shelf, first.bound)
    heir.consume(timeout_s=0)
    assert moody.took == ["else"]
    moody.fails.clear()
    heir.consume(timeout_s=0)
    assert moody.took == ["else", "bad", "behind"]


class Killed(BaseException):
    """What a process does not survive."""


class Deadly(Moody):
    """A handler whose process some ids kill."""

    def __call__(self, binding: Binding, events: Sequence[Inbound], note: Note) -> None:
        if any(event.id == "killer" for event in events):
            raise Killed
        super().__call__(binding, events, note)


DUE = "UPDATE events_parkedmessage SET next_attempt_at = clock_timestamp() WHERE consumer = %(follower)s"


def deaths(consumer: Consumer, shelf: Shelf, *, rounds: int) -> int:
    """Consume in so many processes, one after the other; return how many of them died."""
    count = 0
    for _ in range(rounds):
        execute(DUE, f"inbound:{next(iter(consumer.bound))}")
        try:
            Consumer(shelf, consumer.bound).consume(timeout_s=0)
        except Killed:
            count += 1
            shelf.restart()
    return count


def test_what_kills_its_process_is_a_dead_letter_after_five_attempts_and_its_neighbours_go_through_once(
    people: Tenant,
) -> None:
    deadly = Deadly()
    names = ["before", "killer", "behind", "beside"]
    keys = ["b", "k", "k", "o"]
    shelf = Shelf([message(0, id=name, key=key) for name, key in zip(names, keys, strict=True)])
    consumer = consumer_of(people, shelf, deadly)
    assert deaths(consumer, shelf, rounds=8) == ATTEMPTS_MAX
    assert letters(people) == [("killer", "process_died", ATTEMPTS_MAX)]
    assert sorted(deadly.took) == ["before", "behind", "beside"]
    assert (deaths(consumer, shelf, rounds=1), shelf.laid) == (0, [])


def test_nobody_dies_again_of_what_is_a_letter_already_when_it_is_given_again(people: Tenant) -> None:
    deadly = Deadly()
    one = message(0, id="killer")
    shelf = Shelf([one])
    consumer = consumer_of(people, shelf, deadly)
    (topic,) = consumer.bound
    assert deaths(consumer, shelf, rounds=7) == ATTEMPTS_MAX
    shelf.laid.append(one._replace(topic=topic, offset="given again", is_again=True))
    assert deaths(consumer, shelf, rounds=1) == 0
    shelf.laid.append(one._replace(topic=topic, offset="a copy"))
    assert deaths(consumer, shelf, rounds=5) == 1
    assert (letters(people), shelf.laid) == ([("killer", "process_died", ATTEMPTS_MAX)], [])


def test_what_comes_for_the_first_time_costs_no_commit_but_its_own(people: Tenant, monkeypatch) -> None:
    shelf = Shelf([message(0, id=str(n), key="k") for n in range(3)])
    consumer = consumer_of(people, shelf, Moody())
    consumer.consume(timeout_s=0)
    (topic,) = consumer.bound
    told: list[str] = []
    for module in (parking, suspects, processed):
        monkeypatch.setattr(module, "raw_cursor", lambda real=module.raw_cursor: noting(real, told))
    shelf.laid += [message(0, id=f"later-{n}", key="k")._replace(topic=topic) for n in range(3)]
    monkeypatch.setattr(kit, "BATCH_SIZE", 1)
    for _ in range(3):
        assert consumer.consume(timeout_s=0) == 1
    assert told == ["INSERT INTO events_processed"] * 3


@contextmanager
def noting(raw_cursor: Any, told: list[str]) -> Iterator[Any]:
    """Open a cursor that notes how its statements begin."""

    def execute(statement: str, *more: Any) -> Any:
        told.append(" ".join(statement.split()[:3]))
        return cursor.execute(statement, *more)

    with raw_cursor() as cursor:
        yield Mock(wraps=cursor, execute=execute)


def test_while_the_database_is_away_no_attempt_of_what_is_parked_counts(people: Tenant, impatient: None) -> None:
    moody = Moody(bad=Busy())
    shelf = Shelf([message(0, id="bad")])
    consumer = consumer_of(people, shelf, moody)
    consumer.consume(timeout_s=0)
    moody.fails["bad"] = caused(OperationalError("gone"), psycopg.OperationalError("gone"))
    for _ in range(ATTEMPTS_MAX + 1):
        with pytest.raises(OperationalError):
            consumer.consume(timeout_s=0)
    moody.fails.clear()
    consumer.consume(timeout_s=0)
    assert (moody.took, letters(people)) == (["bad"], [])


def test_before_its_time_nothing_is_tried_again(people: Tenant) -> None:
    moody = Moody(bad=Busy())
    shelf = Shelf([message(0, id="bad")])
    consumer = consumer_of(people, shelf, moody)
    consumer.consume(timeout_s=0)
    moody.fails.clear()
    consumer.consume(timeout_s=0)
    assert (moody.took, letters(people)) == ([], [])


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


FINAL = {
    "a contradiction": (caused(IntegrityError(), psycopg.errors.UniqueViolation()), "sqlstate_23505"),
    "a refusal": (Refused(), "refused"),
}


@pytest.mark.parametrize(("error", "code"), FINAL.values(), ids=FINAL)
def test_what_no_attempt_mends_is_a_dead_letter_at_once(people: Tenant, error: Exception, code: str) -> None:
    shelf = Shelf([message(0, id="bad")])
    consumer_of(people, shelf, Moody(bad=error)).consume(timeout_s=0)
    assert letters(people) == [("bad", code, 1)]


def test_while_the_database_is_away_no_attempt_counts_and_nothing_is_lost(people: Tenant) -> None:
    away = caused(OperationalError("gone"), psycopg.OperationalError("gone"))
    moody = Moody(one=away)
    shelf = Shelf([message(0, id="one"), message(0, id="two")])
    consumer = consumer_of(people, shelf, moody)
    for _ in range(ATTEMPTS_MAX + 1):
        with pytest.raises(OperationalError):
            consumer.consume(timeout_s=0)
    moody.fails.clear()
    consumer.consume(timeout_s=0)
    assert (moody.took, letters(people)) == (["one", "two"], [])


def run_until_all_is_done(consumer: Consumer, shelf: Shelf) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=consumer.run, args=(stop,))
    thread.start()
    assert wait_until(lambda: not shelf.laid, timeout_s=5)
    stop.set()
    thread.join(5)


def test_a_broker_that_is_away_is_asked_again(people: Tenant) -> None:
    shelf = Shelf([message(asked("1.00"))], is_away=True)
    consumer = consumer_of(people, shelf)
    with pytest.raises(TransportAway):
        consumer.consume(timeout_s=0)
    shelf.is_away = False
    run_until_all_is_done(consumer, shelf)
    assert bob_has(people) == 100


def test_a_dead_letter_that_could_not_be_written_is_written_later(
    people: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadlock(letters: Any) -> None:
        monkeypatch.undo()
        raise caused(OperationalError(), psycopg.errors.DeadlockDetected())

    monkeypatch.setattr(handling, "record_dead_letters", deadlock)
    shelf = Shelf([message(asked(), specversion="0.3"), message(asked("1.00"))])
    run_until_all_is_done(consumer_of(people, shelf), shelf)
    assert (bob_has(people), letters(people)) == (100, [("", "malformed_message", 1)])


def test_killed_between_the_effect_and_the_brokers_knowing_it_has_no_second_effect(people: Tenant) -> None:
    shelf = Shelf([message(asked("1.00")), message(asked("99.00"))])
    consumer = consumer_of(people, shelf)

    class Dying(Shelf):
        def done(self, received: Sequence[Received]) -> None:
            raise Killed

    consumer.source = Dying(shelf.laid)
    with pytest.raises(Killed):
        consumer.consume(timeout_s=0)
    shelf.restart()
    again = Consumer(shelf, consumer.bound)
    again.consume(timeout_s=0)
    assert (bob_has(people), len(letters(people)), len(shelf.done_with)) == (100, 1, 2)
