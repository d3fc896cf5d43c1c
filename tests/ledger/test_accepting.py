"""Accepting: durable and answered before it is booked; refused where it makes no sense now."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier, local
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from config.localstack.processes import wait_until
from config.runtime.clock import now, rfc3339
from config.runtime.database import raw_cursor
from ledger.errors import AcceptTimeout, PostingContended
from ledger.models import Account, Journal, QueuedPosting, Transaction, TransactionEvent
from ledger.posting import accept as accepting
from ledger.posting import engine, queue
from ledger.queries.invariants import verify
from ledger.services import transactions
from ledger.services.posting import post_due
from tests.ledger.hostile import connect
from tests.ledger.locks import in_thread, locked, waiting_for_locks
from tests.ledger.queueing import accepted, due_now, emptied, intent, locked_table, send, statuses
from tests.people import URL, Tenant, body


@pytest.fixture
def room_for(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what leaves room for so many in the queue, as a process that has just begun sees it."""

    def make(size: int) -> None:
        emptied()
        settings.PROCESSOR_QUEUE_SIZE = size
        monkeypatch.setattr(accepting, "QUEUE", queue._Queue())

    return make


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run `work` in so many threads that begin together."""
    begin = Barrier(count)

    def run(number: int) -> Any:
        begin.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        asked = [pool.submit(in_thread, partial(run, number)) for number in range(count)]
        return [one.result() for one in asked]


def problem(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def soon(seconds: float) -> str:
    return rfc3339(now() + timedelta(seconds=seconds))


def test_requests_that_come_at_once_are_accepted_in_few_commits(people: Tenant) -> None:
    ids = [answer.json()["id"] for answer in at_once(16, lambda _: send(people, body(amount="0.01")))]
    commits = set(TransactionEvent.objects.filter(transaction__in=ids).values_list("at", flat=True))
    assert len(commits) <= 8


def test_an_accepted_transaction_has_its_receipt_and_is_not_yet_booked(people: Tenant) -> None:
    answer = send(people, body())
    shown = answer.json()
    assert answer.status_code == 202
    assert (shown["status"], shown["version"], shown["completed_at"]) == ("processing", 1, None)
    assert shown["processing_time_ms"] > 0
    assert answer["Location"] == f"/v2/transactions/{shown['id']}"
    assert answer["Retry-After"] == "1"
    assert not Journal.objects.filter(transaction=shown["id"]).exists()
    assert people.get(answer["Location"]).json()["status"] == "processing"


def test_the_poster_books_what_was_accepted(people: Tenant) -> None:
    url = send(people, body())["Location"]
    assert post_due(0) >= 1
    booked = people.get(url).json()
    assert (booked["status"], booked["version"]) == ("completed", 2)
    steps = people.get(f"{url}/history").json()["data"]
    assert [step["status"] for step in steps] == ["processing", "executing", "completed"]
    assert people.posted(people.account("users:bob:USD")) == 100


def test_without_a_preference_a_transaction_is_accepted(people: Tenant) -> None:
    answer = people.post(URL, body(), Prefer="")
    assert (answer.status_code, answer.json()["status"]) == (202, "processing")
    assert "Preference-Applied" not in answer


def test_fifty_equal_requests_at_once_are_one_transaction(people: Tenant) -> None:
    answers = at_once(50, lambda _: send(people, body(), key="once"))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Counter(answer.get("Idempotent-Replayed") for answer in answers) == {None: 1, "true": 49}
    assert statuses(people) == {"processing": 1}


def test_a_replay_answers_what_the_transaction_is_by_now(people: Tenant) -> None:
    first = send(people, body(), key="once")
    while_it_runs = send(people, body(), key="once")
    other = send(people, body(amount="2.00"), key="once")
    post_due(0)
    after = send(people, body(), key="once")
    waited = people.post(URL, body(), key="once")

    assert (while_it_runs.status_code, while_it_runs["Idempotent-Replayed"]) == (202, "true")
    assert problem(other) == (422, "idempotency_key_reused")
    assert (after.status_code, after["Idempotent-Replayed"], after.json()["status"]) == (201, "true", "completed")
    assert (waited.status_code, waited["Idempotent-Replayed"]) == (201, "true")
    assert {answer.json()["id"] for answer in (first, while_it_runs, after, waited)} == {first.json()["id"]}
    assert statuses(people) == {"completed": 1}


def test_a_key_serves_one_of_two_requests_that_differ_however_close(people: Tenant) -> None:
    answers = at_once(16, lambda number: send(people, body(amount=f"0.{number % 2 + 1}0"), key="once"))

    assert Counter(answer.status_code for answer in answers) == {202: 8, 422: 8}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 422} == {"idempotency_key_reused"}
    assert statuses(people) == {"processing": 1}


def test_of_two_that_cannot_both_succeed_the_second_fails_when_it_is_posted(people: Tenant) -> None:
    first, second = (send(people, body(amount="6.00"), key=key) for key in ("first", "second"))
    assert (first.status_code, second.status_code) == (202, 202)

    post_due(0)

    url = second["Location"]
    stored = people.get(url).json()
    assert people.get(first["Location"]).json()["status"] == "completed"
    assert (stored["status"], stored["version"], stored["completed_at"]) == ("failed", 2, None)
    assert (stored["error"]["code"], stored["error"]["retryable"]) == ("insufficient_funds", False)
    assert stored["receipt_code"] == second.json()["receipt_code"]
    steps = people.get(f"{url}/history").json()["data"]
    assert [step["status"] for step in steps] == ["processing", "executing", "failed"]
    assert not Journal.objects.filter(transaction=stored["id"]).exists()
    assert people.posted(people.account("users:bob:USD")) == 600
    replayed = send(people, body(amount="6.00"), key="second")
    assert (problem(replayed), replayed["Idempotent-Replayed"]) == ((409, "insufficient_funds"), "true")
    assert replayed.json()["transaction_id"] == stored["id"]
    assert replayed.json()["receipt_code"] == stored["receipt_code"]
    assert verify(client_id=people.client.pk).holds


NOT_NOW = {
    "too little": ({}, body(amount="10.01"), "insufficient_funds"),
    "a frozen debit account": ({"users:alice:USD": {"frozen": "debits"}}, body(), "account_frozen"),
    "a frozen credit account": ({"users:bob:USD": {"frozen": "both"}}, body(), "account_frozen"),
    "a closed account": ({"users:bob:USD": {"status": "closed"}}, body(), "account_closed"),
    "a full account": ({}, body(credit_account="users:full:USD", amount="3.01"), "ceiling_exceeded"),
}


@pytest.mark.parametrize(("states", "sent", "code"), NOT_NOW.values(), ids=NOT_NOW)
def test_what_cannot_succeed_now_is_refused_and_leaves_no_row(
    people: Tenant, states: dict[str, Any], sent: Any, code: str
) -> None:
    people.open("users:full:USD", ceiling="3.00")
    for path, state in states.items():
        Account.objects.filter(client=people.client, path=path).update(**state)

    answer = send(people, sent, key="once")

    assert problem(answer) == (409, code)
    assert "transaction_id" not in answer.json()
    assert statuses(people) == {}
    other = body(debit_account="cash:USD", credit_account="users:full:USD")
    assert send(people, other, key="once").status_code == 202


def test_what_is_to_be_executed_later_is_not_measured_by_what_stands_now(people: Tenant) -> None:
    Account.objects.filter(client=people.client, path="users:bob:USD").update(frozen="both")
    at = soon(3600)

    answer = send(people, body(amount="99.00", execute_at=at))

    assert (answer.status_code, answer.json()["execute_at"]) == (202, at)


def test_what_is_to_be_executed_later_is_posted_then_and_not_before(people: Tenant) -> None:
    due = time.monotonic() + 0.5
    url = send(people, body(execute_at=soon(0.5)))["Location"]
    emptied()
    assert people.get(url).json()["status"] == "processing"

    assert wait_until(lambda: bool(post_due(0)), timeout_s=5)

    assert time.monotonic() > due - 0.05
    assert people.get(url).json()["status"] == "completed"


def test_who_waits_for_what_is_to_be_executed_later_is_answered_at_once(people: Tenant) -> None:
    answer = people.post(URL, body(execute_at=soon(60)), Prefer="wait=5")
    assert (answer.status_code, answer.json()["status"]) == (202, "processing")
    assert "Preference-Applied" not in answer


def test_a_time_that_has_passed_is_at_once(people: Tenant) -> None:
    assert problem(send(people, body(amount="10.01", execute_at=soon(-60)))) == (409, "insufficient_funds")
    url = send(people, body(execute_at="1970-01-01T00:00:00Z"))["Location"]
    emptied()
    assert people.get(url).json()["status"] == "completed"


@pytest.mark.parametrize("wait", ["respond-async", "wait=1"])
def test_what_is_more_than_a_year_ahead_is_refused(people: Tenant, wait: str) -> None:
    answer = people.post(URL, body(execute_at=soon(366 * 86_400 + 60)), key="once", Prefer=wait)
    assert answer.status_code == 422
    assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == [("/execute_at", "execute_at_too_far")]
    assert send(people, body(execute_at=soon(365 * 86_400)), key="once").status_code == 202


def test_the_queue_is_never_longer_than_its_bound(people: Tenant, room_for: Callable[[int], None]) -> None:
    room_for(5)

    answers = at_once(16, lambda _: send(people, body(amount="0.01")))

    assert statuses(people) == {"processing": 5}
    assert Counter(answer.status_code for answer in answers) == {202: 5, 503: 11}
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {problem(answer) for answer in refused} == {(503, "queue_full")}
    assert {int(answer["Retry-After"]) for answer in refused} == {1}
    emptied()
    assert send(people, body()).status_code == 202


class _PerThread(local, queue._Queue):
    """The memory of as many processes as there are threads."""


def test_the_queue_is_never_longer_than_its_bound_however_many_processes_accept(
    people: Tenant, room_for: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(10)
    monkeypatch.setattr(accepting, "QUEUE", _PerThread())

    def fill(number: int) -> list[str]:
        outcomes = [accepting.accept([intent(people, amount_minor=1)])[0] for _ in range(3)]
        return [outcome.refusal.code if outcome.refusal else "accepted" for outcome in outcomes]

    codes = Counter(code for one in at_once(16, fill) for code in one)

    assert codes == {"accepted": 10, "queue_full": 38}
    assert statuses(people) == {"processing": 10}


def test_between_two_looks_at_the_queue_a_process_counts_what_it_adds(
    people: Tenant, room_for: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "NEAR_PLACES", 0)
    monkeypatch.setattr(queue, "LOOK_EVERY_S", 60)
    room_for(20)
    outcomes = [accepting.accept([intent(people, amount_minor=1)])[0] for _ in range(25)]
    assert [outcome.refusal is None for outcome in outcomes] == [True] * 20 + [False] * 5


def test_one_commit_takes_no_more_places_than_are_left(people: Tenant, room_for: Callable[[int], None]) -> None:
    room_for(3)
    outcomes = accepting.accept([intent(people, amount_minor=1) for _ in range(5)])
    assert [outcome.refusal is None for outcome in outcomes] == [True, True, True, False, False]


def test_replays_and_refusals_take_no_place_and_find_none_missing(
    people: Tenant, room_for: Callable[[int], None]
) -> None:
    room_for(2)
    for number in range(4):
        assert send(people, body(), key="once").status_code == 202
        assert problem(send(people, body(amount="10.01"))) == (409, "insufficient_funds")
        assert problem(send(people, body(amount=f"{number + 2}.00"), key="once")) == (422, "idempotency_key_reused")
    assert send(people, body(), key="second").status_code == 202

    assert problem(send(people, body(), key="third")) == (503, "queue_full")

    assert send(people, body(), key="second")["Idempotent-Replayed"] == "true"
    assert problem(send(people, body(amount="10.01"))) == (409, "insufficient_funds")
    assert statuses(people) == {"processing": 2}


def test_what_is_to_be_executed_later_takes_its_place_when_it_is_due(
    people: Tenant, room_for: Callable[[int], None]
) -> None:
    room_for(2)
    later = accepted([intent(people, execute_at=now() + timedelta(hours=1)) for _ in range(4)])
    assert send(people, body()).status_code == 202
    assert send(people, body()).status_code == 202
    assert problem(send(people, body())) == (503, "queue_full")
    emptied()
    assert statuses(people) == {"completed": 2, "processing": 4}

    due_now(*later)

    assert problem(send(people, body())) == (503, "queue_full")


@pytest.mark.parametrize(
    ("looks", "retry_after_s"),
    [
        ([], 1),
        ([(100, 5000)], 1),
        ([(100, 5000), (102, 5100)], 1),
        ([(100, 5000), (103, 5900)], 4),
        ([(100, 5000), (102, 5000), (104, 6200)], 4),
        ([(100, 5000), (103, 50_000)], 1),
        ([(100, 5000), (103, 5003)], 60),
        ([(100, 5000), (103, 5000)], 60),
        ([(100, 5000), (103, 50_000), (106, 50_000)], 60),
        ([(100, 5000), (161, 5000)], 1),
        ([(100, 5000), (103, 300)], 1),
    ],
)
def test_a_tenth_of_the_queue_drains_before_one_is_to_come_again(
    looks: list[tuple[int, int]], retry_after_s: int
) -> None:
    """It is measured over three seconds and more; nothing is known before, after a long pause, or after a crash."""
    drain = queue.Drain()
    for at, left in looks:
        drain.note(left, at=at)
    assert drain.retry_after_s(10_000) == retry_after_s


def test_whoever_finds_a_full_queue_that_does_not_drain_is_to_come_again_late(
    people: Tenant, room_for: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(1)
    send(people, body())
    assert send(people, body())["Retry-After"] == "1"

    monkeypatch.setattr(queue, "MEASURED_OVER_S", 0)

    # (The server counts what left before with a delay of its own.)
    assert wait_until(lambda: send(people, body())["Retry-After"] == "60", timeout_s=10, every_s=0.1)


def test_what_leaves_the_queue_is_seen_a_second_later(people: Tenant) -> None:
    def left() -> int:
        with raw_cursor() as cursor:
            return int(cursor.execute(queue.DEPTH, [1]).fetchall()[0][1])

    def is_seen() -> bool:
        accepted([intent(people, amount_minor=1)])
        emptied()
        return left() > before

    before = left()
    assert wait_until(is_seen, timeout_s=10, every_s=0.1)


def test_refusals_of_a_full_queue_are_counted_one_by_one_and_said_once_a_second(
    people: Tenant,
    room_for: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(transactions, "note_refusal", queue._Refusals().note)
    room_for(1)
    send(people, body())
    before = REGISTRY.get_sample_value("transactions_refused_total") or 0
    said: list[dict[str, Any]] = []

    def all_said() -> bool:
        lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
        # (An earlier test's refusals may be said only now.)
        said.extend(line for line in lines if line["event"] == "queue.full" and line["request_id"] in asked)
        return sum(int(line["refused"]) for line in said) == 30

    begun = time.monotonic()
    answers = [send(people, body()) for _ in range(30)]
    assert {answer.status_code for answer in answers} == {503}
    asked = {answer["X-Request-ID"] for answer in answers}

    assert wait_until(all_said, timeout_s=5)
    assert REGISTRY.get_sample_value("transactions_refused_total") == before + 30
    assert len(said) <= 2 + time.monotonic() - begun
    assert {(line["level"], line["type"], line["amount"]) for line in said} == {("critical", "transfer", "1.00")}


def test_one_that_the_database_refuses_fails_alone_in_its_group(people: Tenant) -> None:
    """The API refuses such metadata; whoever hands it to accept() shares a commit with others all the same."""
    intents = [intent(people, metadata={"note": note}) for note in ("a", "\x00", "b")]

    outcomes = accepting.accept(intents)

    assert [outcome.refusal and outcome.refusal.code for outcome in outcomes] == [None, "posting_refused", None]
    stored = Transaction.objects.filter(client=people.client, type="transfer").values_list("pk", flat=True)
    assert set(stored) == {intents[0].id, intents[2].id}
    assert set(QueuedPosting.objects.filter(client=people.client).values_list("pk", flat=True)) == set(stored)
    assert verify(client_id=people.client.pk).holds


def test_what_cannot_be_stored_in_time_is_refused_by_name_and_may_be_asked_again(people: Tenant) -> None:
    with locked_table("ledger_queuedposting"):
        begun = time.monotonic()
        answer = send(people, body(), key="once")
        took_s = time.monotonic() - begun

    assert (problem(answer), answer["Retry-After"]) == ((503, "accept_timeout"), "1")
    assert took_s < 2.5
    assert statuses(people) == {}
    assert send(people, body(), key="once").status_code == 202


def test_accepting_ends_in_its_time_whatever_it_waits_for(
    people: Tenant, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        accepting, "BEGIN_ACCEPTING", "SELECT clock_timestamp(), set_config('lock_timeout', '10s', true)"
    )
    settings.RECEIPT_TIMEOUT = 0.3
    with locked_table("ledger_queuedposting"):
        begun = time.monotonic()
        with pytest.raises(AcceptTimeout):
            accepting.accept([intent(people), intent(people)])
        assert time.monotonic() - begun < 2
        assert waiting_for_locks() == 0
    assert statuses(people) == {}


def test_many_that_cannot_be_stored_in_time_all_hear_so_in_time(people: Tenant, settings: Any) -> None:
    settings.RECEIPT_TIMEOUT = 1

    def ask(number: int) -> tuple[tuple[int, str], float]:
        begun = time.monotonic()
        return problem(send(people, body(amount="0.01"), key=f"key-{number}")), time.monotonic() - begun

    with locked_table("ledger_queuedposting"):
        answers = at_once(12, ask)

    assert {answer for answer, _ in answers} == {(503, "accept_timeout")}
    assert max(took_s for _, took_s in answers) < 2.5
    # What is still under way when the lock is gone may be stored: that is why the same key is safe.
    again = [send(people, body(amount="0.01"), key=f"key-{number}") for number in range(12)]
    assert {answer.status_code for answer in again} == {202}
    assert statuses(people) == {"processing": 12}


def test_a_key_in_another_request_s_hands_keeps_nobody_else_of_its_group(people: Tenant) -> None:
    taken = Transaction.objects.get(client=people.client, type="cash_in")
    with connect("app") as other:
        other.execute("BEGIN")
        other.execute(
            "INSERT INTO ledger_transaction SELECT (jsonb_populate_record(t, jsonb_build_object("
            "'id', gen_random_uuid(), 'idempotency_key', 'held', 'request_hash', '\\x00'))).* "
            "FROM ledger_transaction t WHERE id = %s",
            [taken.pk],
        )
        keys = ("before", "held", "after")
        outcomes = accepting.accept([intent(people, idempotency_key=key, request_hash=b"test") for key in keys])
        other.execute("ROLLBACK")
    assert [outcome.refusal and outcome.refusal.code for outcome in outcomes] == [None, "accept_timeout", None]
    assert statuses(people) == {"processing": 2}


def test_who_waits_in_vain_for_its_group_to_begin_is_accepted(people: Tenant) -> None:
    people.person("carol", holding="5.00")
    with locked(people.account("users:alice:USD")) as holder, ThreadPoolExecutor(1) as pool:
        first = pool.submit(in_thread, lambda: people.post(URL, body(), Prefer="wait=30"))
        assert wait_until(lambda: waiting_for_locks() == 1, timeout_s=4)
        begun = time.monotonic()
        answer = people.post(URL, body(debit_account="users:carol:USD"), Prefer="wait=1")
        took_s = time.monotonic() - begun
        holder.execute("COMMIT")
        assert first.result().status_code == 201

    assert (answer.status_code, answer.json()["status"]) == (202, "processing")
    assert "Preference-Applied" not in answer
    assert 1 <= took_s < 2.5
    assert QueuedPosting.objects.filter(pk=UUID(answer.json()["id"])).exists()
    emptied()
    assert people.get(answer["Location"]).json()["status"] == "completed"
    assert people.posted(people.account("users:bob:USD")) == 200


def test_a_booking_that_has_begun_waits_for_a_lock_no_longer_than_its_client(people: Tenant) -> None:
    with locked(people.account("users:alice:USD")):
        begun = time.monotonic()
        answer = people.post(URL, body(), key="once", Prefer="wait=1")
        took_s = time.monotonic() - begun

    assert problem(answer) == (503, "posting_contended")
    assert 0.9 <= took_s < 2.5
    assert statuses(people) == {}
    assert people.post(URL, body(), key="once", Prefer="wait=1").status_code == 201


def test_the_most_patient_of_a_group_says_how_long_it_waits_for_a_lock(people: Tenant) -> None:
    with locked(people.account("users:alice:USD")):
        begun = time.monotonic()
        group = [transactions._Waiting(intent(people), begun + wait_s) for wait_s in (0.1, 0.5, -0.1)]
        with pytest.raises(PostingContended):
            transactions._post_group(group)
        took_s = time.monotonic() - begun

    assert 0.4 <= took_s < 2


def test_a_dry_run_shows_what_would_be_and_leaves_nothing(people: Tenant) -> None:
    before = Transaction.objects.filter(client=people.client).count()
    good = people.post(f"{URL}?dry_run=true", body(), key="once")
    poor = people.post(f"{URL}?dry_run=true", body(amount="99.00"), key="once")
    odd = people.post(f"{URL}?dry_run=maybe", body(), key="once")
    assert (good.status_code, good.json()["status"], good["Dry-Run"]) == (200, "completed", "true")
    assert (poor.status_code, poor.json()["code"]) == (409, "insufficient_funds")
    assert (odd.status_code, odd.json()["code"]) == (400, "parameters_refused")
    assert Transaction.objects.filter(client=people.client).count() == before
    assert people.posted(people.account("users:bob:USD")) == 0
    assert send(people, body(amount="2.00"), key="once").status_code == 202  # the key was not taken


def test_a_dry_run_does_not_judge_what_is_to_be_executed_later(people: Tenant) -> None:
    tried = people.post(f"{URL}?dry_run=true", body(execute_at=soon(60)), key="once")
    assert (tried.status_code, tried.json()["code"]) == (422, "execute_at_in_dry_run")
    assert tried.json()["errors"][0]["pointer"] == "/execute_at"
    due = people.post(f"{URL}?dry_run=true", body(execute_at=soon(-60)), key="once")
    assert (due.status_code, due.json()["status"]) == (200, "completed")
    assert send(people, body(execute_at=soon(86_400)), key="once").status_code == 202


def test_the_document_tells_of_dry_runs(people: Tenant) -> None:
    paths = people.get("/v2/schema?format=json").json()["paths"]
    for path, status in ((URL, "200"), (f"{URL}/batch", "207")):
        (parameter,) = [one for one in paths[path]["post"]["parameters"] if one["name"] == "dry_run"]
        assert (parameter["in"], parameter["schema"]) == ("query", {"type": "boolean"})
        assert status in paths[path]["post"]["responses"]
    assert "`execute_at_in_dry_run`" in paths[URL]["post"]["description"]


def test_a_full_queue_takes_what_is_to_be_executed_later(people: Tenant, settings: Any) -> None:
    emptied()
    settings.PROCESSOR_QUEUE_SIZE = 1
    assert send(people, body()).status_code == 202
    assert send(people, body()).json()["code"] == "queue_full"
    assert send(people, body(execute_at=soon(60))).status_code == 202


@pytest.mark.parametrize("shown_by", ["transaction", "list", "receipt", "replay", "batch", "items of a batch"])
def test_a_status_is_never_less_than_what_was_shown_of_the_transaction(
    people: Tenant, monkeypatch: pytest.MonkeyPatch, shown_by: str
) -> None:
    """Another process books it, so that nothing is announced in this one."""
    accepted = send(people, body(), key="once").json()
    status = f"{URL}/{accepted['id']}/status"
    assert people.get(status).json()["version"] == 1
    of_a_batch = {"mode": "partial", "items": [body() | {"idempotency_key": "once"}]}
    batch_id = people.post(f"{URL}/batch", of_a_batch).json()["id"] if shown_by == "items of a batch" else ""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(engine, "report_statuses", lambda *_, **__: None)
        emptied()

    match shown_by:
        case "transaction":
            people.get(f"{URL}/{accepted['id']}")
        case "list":
            people.get(f"{URL}?type=transfer")
        case "receipt":
            people.get(f"/v2/receipts/{accepted['receipt_code']}/transaction")
        case "replay":
            assert send(people, body(), key="once").json()["status"] == "completed"
        case "batch":
            assert people.post(f"{URL}/batch", of_a_batch).json()["items"][0]["transaction"]["status"] == "completed"
        case "items of a batch":
            people.get(f"/v2/batches/{batch_id}/items")

    assert (people.get(status).json()["status"], people.get(status).json()["version"]) == ("completed", 2)
