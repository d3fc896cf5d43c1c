"""Holds: held funds are nobody else's, and a hold ends once: captured, voided or expired."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from prometheus_client import REGISTRY

from config.runtime.clock import now, rfc3339
from config.runtime.errors import DomainError, Invalid
from ledger.errors import IdempotencyKeyReused
from ledger.events.models import OutboxEvent
from ledger.models import Journal, OpenHold, Transaction
from ledger.queries.invariants import verify
from ledger.services.holds import CAPTURE, capture_transaction, expire_holds, void_transaction
from ledger.services.idempotency import Claim
from ledger.services.posting import post_due
from ledger.services.transactions import Submitted, submit_transaction
from tests.counted import statements
from tests.ledger.locks import in_thread
from tests.ledger.queueing import due_now, emptied
from tests.people import Tenant

URL = "/v2/transactions"
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def people(bank: Tenant) -> Tenant:
    """A bank where alice holds 10.00 and bob nothing."""
    bank.person("alice", holding="10.00")
    bank.person("bob")
    return bank


def asked(amount: str = "6.00", **more: Any) -> dict[str, Any]:
    accounts = {"debit_account": "users:alice:USD", "credit_account": "users:bob:USD"}
    return {"type": "transfer", "amount": amount, "currency": "USD", "capture": "manual"} | accounts | more


def held(people: Tenant, amount: str = "6.00", **more: Any) -> str:
    answer = people.post(URL, asked(amount, **more))
    assert (answer.status_code, answer.json()["status"]) == (201, "pending")
    return str(answer.json()["id"])


def capture(people: Tenant, transaction: str, amount: str | None = None, **more: Any) -> Any:
    key = more.pop("key", None)
    return people.post(f"{URL}/{transaction}/capture", ({"amount": amount} if amount else {}) | more, key=key)


def void(people: Tenant, transaction: str, key: str | None = None, **body: Any) -> Any:
    return people.post(f"{URL}/{transaction}/void", body, key=key)


def shows(people: Tenant, name: str) -> tuple[str, str, str]:
    balance = people.get(f"/v2/accounts/{people.account(f'users:{name}:USD').id}").json()["balance"]
    return balance["posted"], balance["held"], balance["available"]


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def events(transaction: str) -> list[str]:
    rows = OutboxEvent.objects.filter(data__startswith=f'{{"id":"{transaction}"').order_by("id")
    return [row.type for row in rows]


def in_days(days: float) -> datetime:
    return now() + timedelta(days=days)


def code_of(end: Callable[..., Any], people: Tenant, transaction: str, at: datetime, **more: Any) -> str:
    """Capture or void at a moment, and return the status that follows, or why nothing does."""
    asked = {"client_id": people.client.pk, "transaction_id": UUID(transaction), "actor": "test", "request_id": ""}
    claim = Claim(key=str(uuid4()), operation="test", request_hash=b"test")
    try:
        return str(end(**asked, **more, claim=claim, now=at).transaction.status)
    except DomainError as refusal:
        return refusal.code


def test_what_is_held_is_neither_booked_nor_available(people: Tenant) -> None:
    transaction = held(people)
    assert shows(people, "alice") == ("10.00", "6.00", "4.00")
    assert shows(people, "bob") == ("0.00", "0.00", "0.00")
    assert refusal(people.post(URL, asked("4.01", capture="automatic"))) == (409, "insufficient_funds")
    assert people.post(URL, asked("4.00", capture="automatic")).status_code == 201
    assert events(transaction) == ["transaction.pending"]
    assert verify(client_id=people.client.pk).holds


def test_a_capture_books_all_that_is_held(people: Tenant) -> None:
    transaction = held(people)
    answer = capture(people, transaction)

    shown = answer.json()
    assert (answer.status_code, shown["status"], shown["captured"]) == (200, "completed", "6.00")
    assert shown["completed_at"] is not None
    assert people.get(f"{URL}/{transaction}").json() == shown
    assert (shows(people, "alice"), shows(people, "bob")) == (("4.00", "0.00", "4.00"), ("6.00", "0.00", "6.00"))
    assert events(transaction) == ["transaction.pending", "transaction.completed"]
    steps = people.get(f"{URL}/{transaction}/history").json()["data"]
    assert [(step["status"], step["amount"]) for step in steps if step["status"] != "executing"] == [
        ("pending", "6.00"),
        ("completed", "6.00"),
    ]
    assert not OpenHold.objects.filter(transaction__id=transaction).exists()
    assert verify(client_id=people.client.pk).holds


def test_several_captures_and_the_last_lets_go_the_rest(people: Tenant) -> None:
    transaction = held(people)
    first = capture(people, transaction, "1.00").json()
    second = capture(people, transaction, "2.00").json()
    assert [(one["status"], one["captured"], one["version"]) for one in (first, second)] == [
        ("pending", "1.00", 2),
        ("pending", "3.00", 3),
    ]
    assert shows(people, "alice") == ("7.00", "3.00", "4.00")

    last = capture(people, transaction, "0.50", final=True).json()

    assert (last["status"], last["captured"]) == ("completed", "3.50")
    assert shows(people, "alice") == ("6.50", "0.00", "6.50")
    assert events(transaction) == [
        "transaction.pending",
        "transaction.captured",
        "transaction.captured",
        "transaction.completed",
    ]
    told = json.loads(OutboxEvent.objects.get(type="transaction.completed", data__contains=transaction).data)
    assert [(entry["layer"], entry["side"], entry["amount"]) for entry in told["entries"]] == [
        ("held", "credit", "3.00"),
        ("held", "debit", "3.00"),
        ("posted", "debit", "0.50"),
        ("posted", "credit", "0.50"),
    ]
    assert verify(client_id=people.client.pk).holds


def test_captures_that_reach_the_amount_complete_it(people: Tenant) -> None:
    transaction = held(people)
    capture(people, transaction, "1.00")
    assert capture(people, transaction, "5.00").json()["status"] == "completed"


def test_a_void_lets_go_what_is_held(people: Tenant) -> None:
    transaction = held(people)
    answer = void(people, transaction, reason="the order was cancelled")
    assert (answer.status_code, answer.json()["status"]) == (200, "voided")
    assert shows(people, "alice") == ("10.00", "0.00", "10.00")
    assert events(transaction) == ["transaction.pending", "transaction.voided"]
    last = people.get(f"{URL}/{transaction}/history").json()["data"][-1]
    assert (last["status"], last["reason"]) == ("voided", "the order was cancelled")
    assert verify(client_id=people.client.pk).holds


def test_after_a_capture_a_void_completes(people: Tenant) -> None:
    transaction = held(people)
    capture(people, transaction, "1.00")
    assert void(people, transaction).json()["status"] == "completed"
    steps = people.get(f"{URL}/{transaction}/history").json()["data"]
    assert [(step["status"], step["amount"]) for step in steps if step["status"] != "executing"] == [
        ("pending", "6.00"),
        ("pending", "1.00"),
        ("completed", "0.00"),
    ]
    assert shows(people, "alice") == ("9.00", "0.00", "9.00")
    assert verify(client_id=people.client.pk).holds


def test_what_expired_is_let_go_and_what_was_captured_stays(people: Tenant) -> None:
    longer = rfc3339(in_days(9))
    untouched, captured, running = held(people, "1.00"), held(people, "2.00"), held(people, "3.00", expires_at=longer)
    capture(people, captured, "0.50")

    assert expire_holds(in_days(8)) >= 2

    assert [people.get(f"{URL}/{one}").json()["status"] for one in (untouched, captured, running)] == [
        "expired",
        "completed",
        "pending",
    ]
    assert shows(people, "alice") == ("9.50", "3.00", "6.50")
    assert events(untouched) == ["transaction.pending", "transaction.expired"]
    assert verify(client_id=people.client.pk).holds


def test_nobody_captures_or_voids_what_has_expired_also_before_it_is_let_go(people: Tenant) -> None:
    transaction = held(people)
    at = Transaction.objects.get(pk=transaction).expires_at
    assert at is not None
    asked = {"amount": "1.00", "is_final": False}
    assert code_of(capture_transaction, people, transaction, at - MICROSECOND, **asked) == "pending"
    assert code_of(capture_transaction, people, transaction, at, **asked) == "hold_expired"
    assert code_of(void_transaction, people, transaction, at) == "hold_expired"
    expire_holds(at)
    assert refusal(capture(people, transaction)) == (409, "hold_captured")
    assert shows(people, "alice") == ("9.00", "0.00", "9.00")


def test_what_expires_while_it_waits_to_be_posted_is_not_held(people: Tenant) -> None:
    transaction = people.post(URL, asked(), Prefer="respond-async").json()["id"]
    while post_due(0, now=in_days(7)):
        pass
    shown = people.get(f"{URL}/{transaction}").json()
    assert (shown["status"], shown["error"]["code"]) == ("failed", "hold_expired")
    assert shows(people, "alice") == ("10.00", "0.00", "10.00")
    assert verify(client_id=people.client.pk).holds


def test_the_books_keep_the_database_s_time_whatever_now_is_given(people: Tenant) -> None:
    transaction, before = held(people), now()
    expire_holds(in_days(8))
    journal = Journal.objects.get(transaction_id=transaction, kind="expire")
    assert before < journal.posted_at < now()


def test_a_hold_lasts_seven_days_unless_said(people: Tenant) -> None:
    shown = people.post(URL, asked()).json()
    row = Transaction.objects.get(pk=shown["id"])
    assert row.expires_at is not None
    assert abs(row.expires_at - row.created_at - timedelta(days=7)) < timedelta(minutes=1)
    until = rfc3339(now() + timedelta(days=30))
    assert people.post(URL, asked("1.00", expires_at=until)).json()["expires_at"] == until


def test_what_is_to_be_held_later_is_held_so_long_from_then_on(people: Tenant) -> None:
    begins, week, most = in_days(3), timedelta(days=7), timedelta(days=31)

    def ends(**until: datetime) -> str:
        more = {name: rfc3339(moment) for name, moment in {"execute_at": begins, **until}.items()}
        answer = people.post(URL, asked("1.00", **more), Prefer="respond-async").json()
        return str(answer.get("expires_at") or answer["code"])

    assert ends() == rfc3339(begins + week)
    assert ends(expires_at=begins + MICROSECOND) == rfc3339(begins + MICROSECOND)
    assert ends(expires_at=begins) == "expires_at_out_of_range"
    assert ends(expires_at=begins + most) == rfc3339(begins + most)
    assert ends(expires_at=begins + most + MICROSECOND) == "expires_at_out_of_range"


def test_what_was_held_late_ends_as_if_it_had_been_in_time(people: Tenant) -> None:
    begins = in_days(3)
    answer = people.post(URL, asked("1.00", execute_at=rfc3339(begins)), Prefer="respond-async").json()
    due_now(UUID(answer["id"]))
    while post_due(0, now=begins + timedelta(hours=5)):
        pass
    ended = begins + timedelta(days=7)
    part = {"amount": "0.50", "is_final": False}
    assert code_of(capture_transaction, people, answer["id"], ended - MICROSECOND, **part) == "pending"
    assert code_of(capture_transaction, people, answer["id"], ended, **part) == "hold_expired"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"expires_at": rfc3339(now() + timedelta(days=32))}, "expires_at_out_of_range"),
        ({"expires_at": rfc3339(now() - timedelta(seconds=1))}, "expires_at_out_of_range"),
        ({"expires_at": rfc3339(now() + timedelta(days=1)), "capture": "automatic"}, "expires_at_without_hold"),
        ({"capture": "later"}, "field_choice"),
    ],
)
def test_an_odd_end_of_a_hold_is_refused(people: Tenant, more: dict[str, str], code: str) -> None:
    answer = people.post(URL, asked(**more))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)
    assert shows(people, "alice") == ("10.00", "0.00", "10.00")


def test_what_cannot_be_done_to_a_hold_has_its_own_code_and_moves_nothing(people: Tenant) -> None:
    transaction = held(people)
    assert refusal(capture(people, transaction, "6.01")) == (409, "capture_exceeds_hold")
    assert refusal(capture(people, transaction, "0.00")) == (422, "amount_not_positive")
    booked = people.post(URL, asked("1.00", capture="automatic")).json()["id"]
    assert refusal(capture(people, booked)) == (409, "not_held")
    assert refusal(void(people, booked)) == (409, "not_held")
    voided, captured = held(people, "1.00"), held(people, "1.00")
    void(people, voided)
    capture(people, captured)
    assert refusal(void(people, voided)) == (409, "hold_voided")
    assert refusal(capture(people, voided)) == (409, "hold_voided")
    assert refusal(capture(people, captured)) == (409, "hold_captured")
    assert refusal(void(people, captured)) == (409, "hold_captured")
    later = people.post(URL, asked("0.50"), Prefer="respond-async").json()["id"]
    assert refusal(capture(people, later)) == (409, "still_processing")
    assert refusal(capture(people, "01a00000-0000-7000-8000-000000000000")) == (404, "not_found")
    assert shows(people, "alice") == ("8.00", "6.00", "2.00")


@pytest.mark.parametrize("wait_s", [None, 5.0])
@pytest.mark.parametrize(
    "more",
    [
        {"capture": "manual", "expires_at": now() + timedelta(hours=1)},
        {"effective_at": now() - timedelta(days=settings.BACKDATE_MAX_DAYS, hours=-1)},
    ],
    ids=["a hold that is over", "a date that is too old"],
)
def test_what_was_stored_in_time_is_replayed_when_its_time_has_passed(
    people: Tenant, more: dict[str, Any], wait_s: float | None
) -> None:
    def send(at: datetime, request_hash: bytes = b"once", key: str = "once") -> Submitted:
        hashed: dict[str, Any] = {"idempotency_key": key, "request_hash": request_hash, "may_be_old": False}
        submission = people.submission("users:alice:USD", "users:bob:USD", "6.00", **more, **hashed)
        asked: dict[str, Any] = {"client_id": people.client.pk, "actor": "test", "request_id": "", "now": at}
        return submit_transaction(submission=submission, wait_s=wait_s, **asked)

    later = now() + timedelta(hours=2)
    first, again = send(now()), send(later)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.transaction.id == first.transaction.id
    with pytest.raises(IdempotencyKeyReused):
        send(later, request_hash=b"other")
    with pytest.raises(Invalid):
        send(later, key="another")
    assert Transaction.objects.filter(client=people.client, type="transfer").count() == 1


def test_another_tenants_hold_does_not_exist(people: Tenant, other_bank: Tenant) -> None:
    transaction = held(people)
    for what in ("capture", "void", "reverse"):
        assert refusal(other_bank.post(f"{URL}/{transaction}/{what}", {})) == (404, "not_found")


def test_a_key_captures_once_and_replays_what_stands_now(people: Tenant) -> None:
    transaction = held(people)
    first = capture(people, transaction, "1.00", key="once")
    again = capture(people, transaction, "1.00", key="once")
    assert (again.status_code, again["Idempotent-Replayed"], again.json()) == (200, "true", first.json())
    assert "Idempotent-Replayed" not in first
    assert refusal(capture(people, transaction, "2.00", key="once")) == (422, "idempotency_key_reused")
    assert refusal(void(people, transaction, key="once")) == (422, "idempotency_key_reused")
    void(people, transaction)
    assert capture(people, transaction, "1.00", key="once").json()["status"] == "completed"
    assert shows(people, "alice") == ("9.00", "0.00", "9.00")


def test_a_refused_capture_leaves_its_key_unused(people: Tenant) -> None:
    transaction = held(people)
    assert refusal(capture(people, transaction, "7.00", key="once")) == (409, "capture_exceeds_hold")
    assert capture(people, transaction, "6.00", key="once").status_code == 200


def test_a_hold_that_was_accepted_is_held_when_it_is_posted(people: Tenant) -> None:
    transaction = people.post(URL, asked(), Prefer="respond-async").json()["id"]
    emptied()
    assert people.get(f"{URL}/{transaction}").json()["status"] == "pending"
    assert capture(people, transaction).json()["status"] == "completed"
    assert verify(client_id=people.client.pk).holds


def test_holds_draw_on_no_overdraft_that_the_limits_forbid(people: Tenant) -> None:
    assert refusal(people.post(URL, asked("10.01"))) == (409, "insufficient_funds")
    held(people, "10.00")
    assert refusal(people.post(URL, asked("0.01"))) == (409, "insufficient_funds")


def test_a_capture_costs_a_known_number_of_statements(people: Tenant) -> None:
    asked: dict[str, Any] = {"client_id": people.client.pk, "transaction_id": UUID(held(people))}
    asked |= {"amount": None, "is_final": False, "actor": "test", "request_id": ""}
    claim = Claim(key=str(uuid4()), operation=CAPTURE, request_hash=b"test")
    capture_now = partial(capture_transaction, **asked, claim=claim)
    assert statements(capture_now) == 19
    assert statements(capture_now) == 3  # a replay


def test_what_is_done_to_a_hold_counts_as_no_outcome_of_its_own(people: Tenant) -> None:
    def counted(status: str) -> float:
        return REGISTRY.get_sample_value("transactions_total", {"type": "transfer", "outcome": status}) or 0

    pending, completed = counted("pending"), counted("completed")
    transaction = held(people)
    capture(people, transaction, "1.00")
    capture(people, transaction)
    assert (counted("pending"), counted("completed")) == (pending + 1, completed)


def test_many_holds_expire_in_as_many_statements_as_few(people: Tenant) -> None:
    def expire(count: int) -> int:
        for _ in range(count):
            held(people, "0.01")
        ended: list[int] = []
        asked = statements(lambda: ended.append(expire_holds(in_days(32))))
        assert ended == [count]
        return asked

    expire_holds(in_days(32))
    expire(1)  # which looks up the accounts
    assert expire(2) == expire(30) == 12


def test_who_captures_what_is_being_posted_never_deadlocks_with_the_poster(people: Tenant) -> None:
    """The poster locks balances before rows; captures and reversals lock rows before balances."""
    stop = Event()

    def post_all() -> None:
        while not stop.is_set():
            post_due(0)

    def accept_and_capture(_: int) -> int:
        transaction = people.post(URL, asked("0.01"), Prefer="respond-async").json()["id"]
        answer = capture(people, transaction)
        while answer.status_code == 503:  # on a busy machine somebody may wait too long for a lock, and is told so
            assert answer.json()["code"] == "posting_contended"
            answer = capture(people, transaction)
        return int(answer.status_code)

    before = REGISTRY.get_sample_value("posting_conflicts_total", {"reason": "deadlock"}) or 0
    with ThreadPoolExecutor(9) as pool:
        poster = pool.submit(in_thread, post_all)
        asking = [pool.submit(in_thread, partial(accept_and_capture, number)) for number in range(100)]
        codes = {one.result() for one in asking}
        stop.set()
        poster.result()
    emptied()
    assert codes <= {200, 409}
    assert (REGISTRY.get_sample_value("posting_conflicts_total", {"reason": "deadlock"}) or 0) == before
    assert verify(client_id=people.client.pk).holds
