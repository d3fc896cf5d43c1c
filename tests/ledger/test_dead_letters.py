"""What cannot be handled is kept as it came, once, and told."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from prometheus_client import REGISTRY
from psycopg import errors as pg

from config.runtime.ids import moment_of
from ledger.events import dead_letters
from ledger.events.dead_letters import record_dead_letters, show_open_letters
from ledger.events.models import DeadLetter, OutboxEvent
from ledger.queries.invariants import verify
from tests.ledger.hostile import connect
from tests.ledger.letters import TRACE, letter, record, recorded
from tests.ledger.locks import in_thread
from tests.people import Tenant


def told(bank: Tenant) -> list[tuple[str, str]]:
    rows = OutboxEvent.objects.filter(client_id=bank.client.pk, type__startswith="dead_letter.").order_by("id")
    return [(row.type, str(row.key)) for row in rows]


def test_a_message_is_kept_as_it_came(bank: Tenant) -> None:
    given = letter(bank)
    row = DeadLetter.objects.get(pk=record(given)[0])

    kept = {name: getattr(row, name) for name in given._fields}
    assert kept == given._asdict()
    assert (row.status, row.replay_count, row.resolved_at, row.kind) == ("open", 0, None, "inbound")
    assert row.created_at == moment_of(row.pk) <= row.failed_at


def test_its_client_is_told_with_the_message_s_trace_and_without_what_it_holds(bank: Tenant) -> None:
    row = recorded(bank)
    (event,) = OutboxEvent.objects.filter(key=row.pk)
    assert (event.type, event.client_id, event.trace) == ("dead_letter.recorded", bank.client.pk, TRACE)
    data = json.loads(event.data)
    assert (data["id"], data["status"], data["error_code"]) == (str(row.pk), "open", "account_unknown")
    assert data.keys().isdisjoint({"body", "headers"})
    assert verify(client_id=bank.client.pk).holds


def test_of_a_message_without_a_client_nobody_is_told(bank: Tenant) -> None:
    row = recorded(None)
    assert row.client_id is None
    assert not OutboxEvent.objects.filter(key=row.pk).exists()


HOSTILE: dict[str, dict[str, Any]] = {
    "NUL in the body": {"body": b"\x00a\x00"},
    "no UTF-8": {"body": bytes(range(256))},
    "1 MiB": {"body": bytes(range(256)) * 4096},
    "nothing": {"body": b"", "headers": {}, "key": "", "event_id": "", "trace": "", "partition": None},
    "odd headers": {"headers": {"a\0b": "\0", "half": "\ud800", "quote": '"\\{},', "": "ünï 日本"}},
    "quotes": {"body": b"{\"\\',", "key": 'a"\\{b},NULL', "error": "NULL"},
}


@pytest.mark.parametrize("given", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_message_is_kept_byte_for_byte(bank: Tenant, given: dict[str, Any]) -> None:
    row = recorded(bank, **given)
    for name, value in given.items():
        assert getattr(row, name) == value


def test_what_no_text_holds_is_replaced_and_what_is_too_long_is_cut(bank: Tenant) -> None:
    row = recorded(bank, key="a\0\ud800", event_id="e" * 300, error="\0" + "x" * 600, trace="t" * 80)
    assert (row.key, row.event_id, row.trace) == ("a\ufffd?", "e" * 255, "t" * 64)
    assert (row.error[0], len(row.error)) == ("\ufffd", 500)


def test_a_long_key_is_no_obstacle(bank: Tenant) -> None:
    key = "".join(map(chr, range(256, 20_000)))
    assert recorded(bank, key=key).key == key


def test_an_error_tells_no_secret(bank: Tenant) -> None:
    row = recorded(bank, error="connection to amqp://guest:hunter2@broker/ refused")
    assert row.error == "connection to amqp://[redacted]@broker/ refused"


@pytest.mark.parametrize("partition", [3, None])
def test_a_message_that_is_given_up_twice_has_one_open_letter(bank: Tenant, partition: int | None) -> None:
    given = letter(bank, partition=partition, attempts=5)
    first = record(given)
    again = record(given._replace(error_code="40P01", error="deadlock", attempts=2), letter(bank))

    assert again[0] == first[0]
    row = DeadLetter.objects.get(pk=first[0])
    assert (row.error_code, row.error, row.attempts) == ("40P01", "deadlock", 7)
    assert row.failed_at > row.created_at
    assert told(bank) == [("dead_letter.recorded", str(one)) for one in [first[0], again[1]]]


def test_a_message_that_stands_twice_in_a_call_has_one_letter(bank: Tenant) -> None:
    given, other = letter(bank), letter(bank)
    ids = record(given, other, given)
    assert ids[0] == ids[2] != ids[1]
    assert DeadLetter.objects.filter(client_id=bank.client.pk).count() == len(told(bank)) == 2


def test_what_was_resolved_and_fails_anew_has_a_new_letter(bank: Tenant) -> None:
    given = letter(bank)
    (first,) = record(given)
    DeadLetter.objects.filter(pk=first).update(status="discarded", resolved_at="2026-01-01T00:00:00Z")
    assert record(given) != [first]


def test_ten_that_give_up_the_same_messages_at_once_make_one_letter_of_each(bank: Tenant) -> None:
    given = [letter(bank) for _ in range(300)]
    barrier = Barrier(10)

    def give_up(turn: int) -> list[Any]:
        barrier.wait()
        return record(*(given if turn % 2 else given[::-1]))

    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda turn: in_thread(partial(give_up, turn)), range(10)))
    assert {frozenset(ids) for ids in found} == {frozenset(found[0])}
    assert DeadLetter.objects.filter(client_id=bank.client.pk).count() == len(told(bank)) == 300


def test_many_large_messages_are_written_in_bounded_statements(bank: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "STATEMENT_BYTES_MAX", 100)
    written, write = list[int](), dead_letters._written

    def noted(part: Any) -> Any:
        written.append(len(part))
        return write(part)

    monkeypatch.setattr(dead_letters, "_written", noted)
    given = [letter(bank, body=bytes([place]) * 40) for place in range(7)]
    assert [bytes(DeadLetter.objects.get(pk=one).body) for one in record(*given)] == [one.body for one in given]
    assert written == [2, 2, 2, 1]


def test_letters_stand_in_the_order_in_which_they_were_given(bank: Tenant) -> None:
    ids = record(*[letter(bank) for _ in range(50)])
    assert ids == sorted(ids)


def counted(row: DeadLetter) -> float | None:
    return REGISTRY.get_sample_value(
        "dead_letters_recorded_total", {"consumer": row.consumer, "code": "account_unknown"}
    )


def test_new_letters_are_counted_once_they_are_committed(bank: Tenant) -> None:
    given = letter(bank)
    row = DeadLetter.objects.get(pk=record(given, given)[0])
    record(given)
    assert counted(row) == 1

    with transaction.atomic():
        record_dead_letters([letter(bank, consumer=row.consumer)])
        transaction.set_rollback(True)
    assert counted(row) == 1


def test_the_gauge_tells_how_many_are_open_and_when_none_is(bank: Tenant) -> None:
    rows = [recorded(bank, consumer=f"listener:{bank.client.pk}{place}") for place in (1, 1, 2)]

    def shown() -> list[float | None]:
        show_open_letters()
        return [REGISTRY.get_sample_value("dead_letters_open", {"consumer": row.consumer}) for row in rows]

    assert shown() == [2, 2, 1]
    DeadLetter.objects.filter(pk__in=[rows[0].pk, rows[2].pk]).update(
        status="replayed", resolved_at="2026-01-01T00:00:00Z"
    )
    assert shown() == [1, 1, 0]


FORBIDDEN = {
    "another body": ("UPDATE events_deadletter SET body = ''", pg.InsufficientPrivilege),
    "another client": ("UPDATE events_deadletter SET client_id = NULL", pg.InsufficientPrivilege),
    "other headers": ("UPDATE events_deadletter SET headers = '{}'", pg.InsufficientPrivilege),
    "deleted": ("DELETE FROM events_deadletter", pg.InsufficientPrivilege),
    "replayed at no time": ("UPDATE events_deadletter SET status = 'replayed'", pg.CheckViolation),
    "open and resolved": ("UPDATE events_deadletter SET resolved_at = now()", pg.CheckViolation),
    "a status of its own": (
        "UPDATE events_deadletter SET status = 'lost', resolved_at = now()",
        pg.CheckViolation,
    ),
}


@pytest.mark.parametrize(("statement", "error"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_the_service_itself_cannot_change_what_came(bank: Tenant, statement: str, error: type[Exception]) -> None:
    row = recorded(bank)
    with connect("app") as app, pytest.raises(error):
        app.execute(f"{statement} WHERE id = '{row.pk}'")


def test_a_client_that_does_not_exist_has_no_letter(bank: Tenant) -> None:
    with pytest.raises(DatabaseError):
        record(letter(bank)._replace(client_id=10**12))
