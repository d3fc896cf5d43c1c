"""`/v2/dead-letters`: an operator looks at all clients' letters, has them handled again, or gives them up."""

from __future__ import annotations

import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.runtime.ids import uuid7
from ledger.api.v2 import dead_letters as api
from ledger.clients.authentication import forget_keys
from ledger.clients.models import AuditEntry, Client
from ledger.clients.scopes import SCOPES
from ledger.events.models import DeadLetter
from ledger.services import dead_letter_runs
from tests.ledger.followed import numbered
from tests.ledger.letters import TRACE, letter, record, recorded
from tests.ledger.locks import in_thread
from tests.ledger.replaying import HANDLED, handlers
from tests.ledger.test_bad_input import problem
from tests.ledger.test_dead_letter_replay import audited, fails, told
from tests.people import Tenant

__all__ = ["handlers"]

URL = "/v2/dead-letters"


def shown(bank: Tenant, **query: Any) -> list[str]:
    """Return the ids of all pages of a list of the tenant's own letters."""
    return shown_to(bank, client=bank.client.public_id, **query)


def shown_to(operator: Tenant, **query: Any) -> list[str]:
    """Return the ids of all pages of a list."""
    found, cursor = list[str](), ""
    while True:
        asked = urlencode(query | ({"cursor": cursor} if cursor else {}))
        answer = operator.get(f"{URL}?{asked}")
        assert answer.status_code == 200, answer.content
        found += [one["id"] for one in answer.json()["data"]]
        cursor = answer.json()["next_cursor"]
        if not cursor:
            return found


def act(bank: Tenant, row: DeadLetter, action: str, body: Any = None, **more: Any) -> Any:
    return bank.post(f"{URL}/{row.pk}/{action}", {} if body is None else body, **more)


def many(bank: Tenant, **asked: Any) -> Any:
    """Replay of the tenant's own letters what a filter means, or ids."""
    if "filter" in asked:
        asked["filter"] = {"client": bank.client.name} | asked["filter"]
    return bank.post(f"{URL}/replay", {"rate_per_s": 1000} | asked)


def test_a_letter_is_shown_with_its_message(bank: Tenant) -> None:
    given = letter(bank)
    (letter_id,) = record(given)
    shape = bank.get(f"{URL}/{letter_id}").json()
    assert shape.pop("created_at") <= shape.pop("failed_at")
    assert shape == {
        "id": str(letter_id),
        "client": {"id": str(bank.client.public_id), "name": bank.client.name},
        "status": "open",
        "consumer": given.consumer,
        "topic": "transactions.inbound",
        "partition": 3,
        "offset": given.offset,
        "key": "users:alice:USD",
        "event_id": given.event_id,
        "error_code": "account_unknown",
        "error": "The client has no account with this id or path.",
        "attempts": 1,
        "trace": TRACE,
        "replay_count": 0,
        "last_error": None,
        "resolved_at": None,
        "resolved_by": None,
        "reason": None,
        "headers": {"ce_type": "payment.asked", "authorization": "[redacted]"},
        "body": '{"amount": "1.00"}',
        "body_encoding": "text",
        "size_bytes": 18,
    }


@pytest.mark.parametrize("body", [bytes(range(256)) * 4096, b"\xff", b"\xed\xa0\x80"], ids=["1 MiB", "one", "half"])
def test_a_body_that_is_no_text_is_shown_in_base64(bank: Tenant, body: bytes) -> None:
    shape = bank.get(f"{URL}/{recorded(bank, body=body).pk}").json()
    assert (shape["body_encoding"], shape["size_bytes"]) == ("base64", len(body))
    assert b64decode(shape["body"]) == body


@pytest.mark.parametrize("text", ["", "\0", "ünï \u2028 </script>", '"\\'])
def test_odd_text_is_shown_as_it_is(bank: Tenant, text: str) -> None:
    shape = bank.get(f"{URL}/{recorded(bank, body=text.encode(), headers={'a': text}).pk}").json()
    assert (shape["body"], shape["headers"], shape["body_encoding"]) == (text, {"a": text}, "text")


def test_a_header_that_no_json_holds_is_no_obstacle(bank: Tenant) -> None:
    shape = bank.get(f"{URL}/{recorded(bank, headers={'a': chr(0xD800)}).pk}").json()
    assert shape["headers"] == {"a": "?"}


def test_a_list_has_every_letter_once_newest_first_and_no_message(bank: Tenant) -> None:
    ids = [str(one) for one in record(*[letter(bank) for _ in range(7)])]
    assert shown(bank, limit=3) == ids[::-1]
    row = bank.get(f"{URL}?client={bank.client.public_id}").json()["data"][0]
    assert row.keys().isdisjoint({"headers", "body"})


def test_a_list_reads_no_bodies_and_the_clients_with_the_letters(bank: Tenant) -> None:
    record(*[letter(bank, body=b"x" * 100) for _ in range(5)])
    bank.get(URL)
    with CaptureQueriesContext(connection) as captured:
        assert len(bank.get(f"{URL}?limit=5").json()["data"]) == 5
    (asked,) = [one["sql"] for one in captured if one["sql"].startswith("SELECT")]
    assert '"body"' not in asked


def test_filters_choose(bank: Tenant) -> None:
    first = recorded(bank, error_code="first", topic="one", key="a+b")
    time.sleep(0.003)
    second = recorded(bank)
    act(bank, second, "discard", {"reason": "a test"})
    asked: list[tuple[dict[str, Any], list[DeadLetter]]] = [
        ({"status": "open"}, [first]),
        ({"status": "discarded"}, [second]),
        ({"status": "replayed"}, []),
        ({"consumer": first.consumer}, [first]),
        ({"error_code": "first"}, [first]),
        ({"topic": "one"}, [first]),
        ({"key": "a+b"}, [first]),
        ({"key": "a+b", "status": "discarded"}, []),
        ({"created_at__gte": second.created_at.isoformat()}, [second]),
        ({"created_at__lt": second.created_at.isoformat()}, [first]),
        ({"status": "open", "limit": 1}, [first]),
    ]
    for query, expected in asked:
        assert shown(bank, **query) == [str(row.pk) for row in expected], query


@pytest.mark.parametrize(
    "query",
    [
        "status=lost",
        "status=",
        "colour=red",
        "status=open&status=open",
        "created_at__gte=yesterday",
        "created_at=x",
    ],
)
def test_other_filters_are_refused(bank: Tenant, query: str) -> None:
    assert problem(bank.get(f"{URL}?{query}")) == (400, "parameters_refused")


def test_a_message_is_handled_again(bank: Tenant, handlers: list[Any]) -> None:
    row = recorded(bank)
    answer = act(bank, row, "replay", {"reason": "mended"})
    assert answer.status_code == 200
    shape = answer.json()
    key = bank.key.split("_")[1]
    assert (shape["status"], shape["reason"], shape["resolved_by"]) == ("replayed", "mended", f"key:{key}")
    assert HANDLED[row.pk] == 1
    assert audited(row) == [("dead_letter.replayed", f"key:{key}", "mended", bank.client.pk)]
    assert problem(act(bank, row, "replay")) == (409, "dead_letter_resolved")


def test_one_that_fails_again_is_a_refusal_that_says_why(bank: Tenant, handlers: list[Any]) -> None:
    row = recorded(bank)
    handlers.append(fails)
    answer = act(bank, row, "replay")
    assert problem(answer) == (409, "replay_failed")
    assert (
        answer.json()["detail"] == "It failed again: unexpected_error: LookupError: nobody at amqp://[redacted]@broker"
    )
    assert (answer.json()["dead_letter_id"], answer.json()["replay_count"]) == (str(row.pk), 1)
    assert (
        bank.get(f"{URL}/{row.pk}").json()["last_error"]
        == "unexpected_error: LookupError: nobody at amqp://[redacted]@broker"
    )


def test_a_client_replays_a_letter_five_times(bank: Tenant, handlers: list[Any]) -> None:
    row = recorded(bank)
    handlers.append(fails)
    assert [problem(act(bank, row, "replay"))[1] for _ in range(6)] == ["replay_failed"] * 5 + ["replay_exhausted"]


def test_a_letter_is_discarded_with_a_reason(bank: Tenant) -> None:
    row = recorded(bank)
    for body, code in [({}, "field_missing"), ({"reason": " "}, "field_pattern"), ({"reason": ""}, "field_length")]:
        assert problem(act(bank, row, "discard", body)) == (422, code)
    shape = act(bank, row, "discard", {"reason": "asked twice"}).json()
    assert (shape["status"], shape["reason"]) == ("discarded", "asked twice")
    assert problem(act(bank, row, "discard", {"reason": "asked twice"})) == (409, "dead_letter_resolved")


# Keys


def test_the_same_key_replays_the_answer_and_handles_nothing_again(bank: Tenant, handlers: list[Any]) -> None:
    row, key = recorded(bank), str(uuid4())
    first, again = (act(bank, row, "replay", {"reason": "x"}, key=key) for _ in range(2))
    assert (again.status_code, again.json(), again["Idempotent-Replayed"]) == (200, first.json(), "true")
    assert HANDLED[row.pk] == 1
    assert problem(act(bank, row, "replay", {"reason": "y"}, key=key)) == (422, "idempotency_key_reused")
    assert problem(act(bank, recorded(bank), "replay", {"reason": "x"}, key=key)) == (422, "idempotency_key_reused")
    assert problem(act(bank, row, "discard", {"reason": "x"}, key=key)) == (422, "idempotency_key_reused")


def test_the_same_key_tries_nothing_again_that_failed(bank: Tenant, handlers: list[Any]) -> None:
    row, key = recorded(bank), str(uuid4())
    handlers.append(fails)
    answers = [act(bank, row, "replay", key=key) for _ in range(2)]
    assert [problem(answer) for answer in answers] == [(409, "replay_failed")] * 2
    assert answers[1]["Idempotent-Replayed"] == "true"
    assert bank.get(f"{URL}/{row.pk}").json()["replay_count"] == 1
    handlers.clear()
    act(bank, row, "replay")
    assert act(bank, row, "replay", key=key).json()["status"] == "replayed"


def test_the_same_key_discards_once(bank: Tenant) -> None:
    row, key = recorded(bank), str(uuid4())
    first, again = (act(bank, row, "discard", {"reason": "x"}, key=key) for _ in range(2))
    assert (again.status_code, again.json(), again["Idempotent-Replayed"]) == (200, first.json(), "true")


# Many


def test_a_dry_run_tells_what_would_be_replayed_and_changes_nothing(bank: Tenant, handlers: list[Any]) -> None:
    consumer = f"inbound:{uuid4()}"
    rows = [recorded(bank, consumer=consumer, error_code=code) for code in ("a", "a", "b")]
    before = list(DeadLetter.objects.filter(client=bank.client).order_by("pk").values())
    answer = many(bank, filter={}, dry_run=True)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "dry_run": True,
            "found": [
                {"consumer": consumer, "error_code": "a", "count": 2, "replayable": 2},
                {"consumer": consumer, "error_code": "b", "count": 1, "replayable": 1},
            ],
            "replayed": 0,
            "refused": {},
            "not_reached": 0,
            "has_more": False,
        },
    )
    assert list(DeadLetter.objects.filter(client=bank.client).order_by("pk").values()) == before
    assert HANDLED.total() == sum(len(audited(row)) for row in rows) == 0


def test_many_are_replayed_each_for_itself(bank: Tenant, other_bank: Tenant, handlers: list[Any]) -> None:
    consumer = f"inbound:{uuid4()}"
    rows = [recorded(bank, consumer=consumer, key=key) for key in ("a", "b", "b", "c")]
    others = recorded(other_bank, consumer=consumer)
    handlers.append(lambda one: fails(one) if one.pk == rows[1].pk else None)
    answer = many(bank, filter={"consumer": consumer}).json()
    assert (answer["replayed"], answer["refused"]) == (2, {"dead_letter_behind": 1, "replay_failed": 1})
    assert [(one["count"], one["replayable"]) for one in answer["found"]] == [(4, 4)]
    assert list(HANDLED) == [rows[0].pk, rows[3].pk]
    assert DeadLetter.objects.get(pk=others.pk).status == "open"

    handlers.clear()
    again = many(bank, ids=[str(row.pk) for row in rows]).json()
    assert (again["replayed"], again["refused"], again["not_reached"]) == (2, {"dead_letter_resolved": 2}, 0)


def test_a_filter_takes_the_oldest_and_says_that_there_are_more(
    bank: Tenant, handlers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "LETTERS_MAX", 2)
    ids = record(*[letter(bank) for _ in range(3)])
    answer = many(bank, filter={"topic": "transactions.inbound"}).json()
    assert (answer["replayed"], answer["has_more"], list(HANDLED)) == (2, True, ids[:2])
    assert many(bank, filter={}).json()["has_more"] is False


def test_what_there_is_no_time_for_is_not_reached(
    bank: Tenant, handlers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_runs, "ANSWER_WITHIN_S", 0.05)
    record(*[letter(bank) for _ in range(5)])
    handlers.append(lambda _: time.sleep(0.03))
    answer = many(bank, filter={}).json()
    assert answer["replayed"] + answer["not_reached"] == 5
    assert 1 <= answer["replayed"] <= 2


BODIES: dict[str, tuple[Any, str]] = {
    "nothing": ({}, "dead_letters_unclear"),
    "both": ({"ids": [str(uuid7())], "filter": {}}, "dead_letters_unclear"),
    "no ids": ({"ids": []}, "field_length"),
    "too many ids": ({"ids": [str(uuid7()) for _ in range(1001)]}, "field_length"),
    "an unknown id": ({"ids": [str(uuid7())]}, "dead_letter_unknown"),
    "no id": ({"ids": ["x"]}, "field_format"),
    "an unknown client": ({"filter": {"client": "nobody"}}, "client_unknown"),
    "an unknown filter": ({"filter": {"status": "open"}}, "field_unknown"),
    "a rate of nothing": ({"filter": {}, "rate_per_s": 0}, "field_range"),
    "a rate beyond all": ({"filter": {}, "rate_per_s": 1001}, "field_range"),
    "a time without offset": ({"filter": {"created_at__gte": "2026-01-01T00:00:00"}}, "field_format"),
    "a dry run of sorts": ({"filter": {}, "dry_run": "yes"}, "field_type"),
}


@pytest.mark.parametrize(("body", "code"), BODIES.values(), ids=BODIES)
def test_what_is_not_said_clearly_is_refused(bank: Tenant, handlers: list[Any], body: Any, code: str) -> None:
    row = recorded(bank)
    assert problem(bank.post(f"{URL}/replay", body)) == (422, code)
    assert DeadLetter.objects.get(pk=row.pk).status == "open"


def test_a_malformed_key_is_refused(bank: Tenant, handlers: list[Any]) -> None:
    recorded(bank)
    answer = bank.post(f"{URL}/replay", {"filter": {}}, key="a b")
    assert (problem(answer), HANDLED.total()) == ((400, "idempotency_key_malformed"), 0)


def test_the_place_of_an_unknown_id_is_named(bank: Tenant) -> None:
    ids = [str(recorded(bank).pk), str(uuid7())]
    (error,) = bank.post(f"{URL}/replay", {"ids": ids}).json()["errors"]
    assert (error["pointer"], error["code"]) == ("/ids/1", "dead_letter_unknown")


def test_the_same_key_replays_nothing_again_and_tells_the_same(bank: Tenant, handlers: list[Any]) -> None:
    rows = [recorded(bank, key=key) for key in ("a", "b")]
    handlers.append(lambda one: fails(one) if one.pk == rows[0].pk else None)
    body, key = {"filter": {"client": bank.client.name}, "reason": "mended"}, str(uuid4())
    first = bank.post(f"{URL}/replay", body, key=key)
    late = recorded(bank)
    again = bank.post(f"{URL}/replay", body, key=key)
    assert (first.json()["replayed"], first.json()["refused"]) == (1, {"replay_failed": 1})
    assert (again.status_code, again.json(), again["Idempotent-Replayed"]) == (200, first.json(), "true")
    assert "Idempotent-Replayed" not in first
    assert DeadLetter.objects.get(pk=rows[0].pk).replay_count == 1
    assert DeadLetter.objects.get(pk=late.pk).status == "open"
    assert problem(bank.post(f"{URL}/replay", body | {"reason": "x"}, key=key)) == (422, "idempotency_key_reused")
    assert problem(act(bank, late, "replay", key=key)) == (422, "idempotency_key_reused")
    (run,) = AuditEntry.objects.filter(client=bank.client, action="dead_letters.replayed")
    assert (run.actor, run.reason, run.detail) == (f"key:{bank.key.split('_')[1]}", "mended", first.json())


def test_a_dry_run_and_what_is_refused_leave_the_key_free(bank: Tenant, handlers: list[Any]) -> None:
    recorded(bank)
    key, chosen = str(uuid4()), {"filter": {"client": bank.client.name}}
    assert bank.post(f"{URL}/replay", chosen | {"dry_run": True}, key=key).json()["replayed"] == 0
    assert problem(bank.post(f"{URL}/replay", {"ids": [str(uuid7())]}, key=key)) == (422, "dead_letter_unknown")
    assert bank.post(f"{URL}/replay", chosen, key=key).json()["replayed"] == 1


def test_equal_requests_at_once_try_each_letter_once_and_are_told_the_same(bank: Tenant, handlers: list[Any]) -> None:
    rows = [recorded(bank, key="") for _ in range(3)]
    handlers += [lambda _: time.sleep(0.1), fails]
    body, key = {"filter": {"client": bank.client.name}}, str(uuid4())
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: in_thread(partial(bank.post, f"{URL}/replay", body, key=key)), range(4)))
    assert [answer.json() for answer in answers] == [answers[0].json()] * 4
    assert sorted(answer.get("Idempotent-Replayed", "") for answer in answers) == ["", "true", "true", "true"]
    assert [DeadLetter.objects.get(pk=row.pk).replay_count for row in rows] == [1, 1, 1]


def test_who_waits_too_long_for_an_equal_request_is_told_so(
    bank: Tenant, handlers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_runs, "PATIENCE_S", 0.1)
    recorded(bank)
    begun, go_on = Event(), Event()

    def hang(_letter: DeadLetter) -> None:
        begun.set()
        assert go_on.wait(10)

    handlers.append(hang)
    ask = partial(bank.post, f"{URL}/replay", {"filter": {"client": bank.client.name}}, key=str(uuid4()))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(in_thread, ask)
        assert begun.wait(10)
        assert problem(ask()) == (409, "idempotency_key_in_use")
        go_on.set()
        assert first.result().json()["replayed"] == 1
    assert ask().json()["replayed"] == 1


# Who may


def test_an_operator_sees_the_letters_of_all_clients_and_of_none(bank: Tenant, other_bank: Tenant) -> None:
    row, nobody_s, own = recorded(bank), recorded(None), recorded(other_bank)
    since = row.created_at.isoformat()
    for query in ({}, {"status": "open"}):
        rows = shown_to(other_bank, created_at__gte=since, **query)
        assert [one for one in rows if one in {str(row.pk), str(nobody_s.pk), str(own.pk)}] == [
            str(one.pk) for one in (own, nobody_s, row)
        ]
    for called in (bank.client.name, bank.client.public_id):
        assert (
            shown_to(other_bank, client=called) == shown_to(other_bank, client=called, status="open") == [str(row.pk)]
        )
    for called in ("nobody", uuid4()):
        assert shown_to(other_bank, client=called) == []
    assert other_bank.get(f"{URL}/{row.pk}").json()["client"] == {
        "id": str(bank.client.public_id),
        "name": bank.client.name,
    }
    assert other_bank.get(f"{URL}/{nobody_s.pk}").json()["client"] is None


def test_a_cursor_is_of_its_caller_and_of_its_filters(bank: Tenant, other_bank: Tenant) -> None:
    record(letter(bank), letter(bank))
    asked = f"client={bank.client.public_id}&limit=1"
    cursor = other_bank.get(f"{URL}?{asked}").json()["next_cursor"]
    assert other_bank.get(f"{URL}?{asked}&cursor={cursor}").status_code == 200
    assert problem(bank.get(f"{URL}?{asked}&cursor={cursor}")) == (400, "cursor_mismatch")
    assert problem(other_bank.get(f"{URL}?limit=1&cursor={cursor}")) == (400, "cursor_mismatch")


def test_what_an_operator_does_stands_under_the_letter_s_client_with_the_operator_s_key(
    bank: Tenant, other_bank: Tenant, handlers: list[Any]
) -> None:
    replayed, discarded, nobody_s = recorded(bank), recorded(bank), recorded(None)
    for row in (replayed, nobody_s):
        assert act(other_bank, row, "replay", {"reason": "mended"}).json()["status"] == "replayed"
    assert act(other_bank, discarded, "discard", {"reason": "lost"}).json()["status"] == "discarded"
    actor = f"key:{other_bank.key.split('_')[1]}"
    assert audited(replayed) == [("dead_letter.replayed", actor, "mended", bank.client.pk)]
    assert audited(discarded) == [("dead_letter.discarded", actor, "lost", bank.client.pk)]
    assert audited(nobody_s) == [("dead_letter.replayed", actor, "mended", None)]
    assert told(replayed)[-1] == ("dead_letter.replayed", "replayed")


def test_a_key_is_the_caller_s_whosever_the_letter_is(bank: Tenant, other_bank: Tenant, handlers: list[Any]) -> None:
    row, key = recorded(bank), str(uuid4())
    assert act(other_bank, row, "replay", key=key).status_code == 200
    assert act(other_bank, row, "replay", key=key)["Idempotent-Replayed"] == "true"
    assert problem(act(bank, row, "replay", key=key)) == (409, "dead_letter_resolved")


def test_many_are_of_all_clients_unless_one_is_named(bank: Tenant, other_bank: Tenant, handlers: list[Any]) -> None:
    consumer = f"inbound:{uuid4()}"
    rows = [recorded(whose, consumer=consumer, key="") for whose in (bank, other_bank, None)]
    named = other_bank.post(f"{URL}/replay", {"filter": {"consumer": consumer, "client": str(bank.client.public_id)}})
    assert (named.json()["replayed"], list(HANDLED)) == (1, [rows[0].pk])
    assert other_bank.post(f"{URL}/replay", {"filter": {"consumer": consumer}}).json()["replayed"] == 2
    assert list(HANDLED) == [row.pk for row in rows]


def test_elsewhere_an_operator_sees_its_own_client_alone(bank: Tenant, other_bank: Tenant) -> None:
    recorded(bank)
    numbered()
    assert [one["type"] for one in bank.get("/v2/events?types=dead_letter.*").json()["data"]] == [
        "dead_letter.recorded"
    ]
    assert other_bank.get("/v2/events?types=dead_letter.*").json()["data"] == []


@pytest.mark.parametrize("tier", ["free", "standard", "premium"])
def test_a_key_of_another_tier_is_let_in_nowhere_whatever_stands_in_it(db: None, tier: str) -> None:
    bank = Tenant.new()
    row = recorded(bank)
    Client.objects.filter(pk=bank.client.pk).update(tier=tier)
    forget_keys()
    answers = [bank.get(URL), bank.get(f"{URL}/{row.pk}"), many(bank, filter={}), act(bank, row, "replay")]
    answers.append(act(bank, row, "discard", {"reason": "x"}))
    assert [problem(answer) for answer in answers] == [(403, "scope_missing")] * 5
    assert bank.get("/v2/accounts").status_code == 200


def test_each_operation_needs_its_scope(db: None) -> None:
    reader = Tenant.new(scopes=["operations:read", "accounts:write"])
    writer = Tenant.new(scopes=["operations:write", "accounts:write"])
    outsider = Tenant.new(scopes=[scope for scope in SCOPES if not scope.startswith("operations:")])
    for bank, may_read, may_write in [(reader, True, False), (writer, False, True), (outsider, False, False)]:
        row = recorded(bank)
        reads = [bank.get(URL), bank.get(f"{URL}/{row.pk}")]
        writes = [many(bank, filter={}, dry_run=True), act(bank, row, "discard", {"reason": "x"})]
        writes.append(act(bank, row, "replay"))
        assert [answer.status_code != 403 for answer in reads] == [may_read] * 2
        assert [answer.status_code != 403 for answer in writes] == [may_write] * 3
    assert problem(outsider.get(URL)) == (403, "scope_missing")
