"""Reversals: what was booked is taken back by a transaction of its own, never twice and never more than there was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from config.localstack.processes import wait_until
from ledger.domain.accounts import Frozen
from ledger.events.models import OutboxEvent
from ledger.models import Transaction
from ledger.queries.invariants import verify
from ledger.services.account_changes import freeze_account
from ledger.services.batches import submit
from tests.ledger.locks import in_thread, locked, waiting_for_locks
from tests.ledger.test_holds import URL, asked, capture, held, refusal
from tests.people import Tenant, body


@pytest.fixture
def people(bank: Tenant) -> Tenant:
    """A bank where alice holds 10.00 and bob nothing."""
    bank.person("alice", holding="10.00")
    bank.person("bob")
    return bank


def paid(people: Tenant, amount: str = "6.00") -> str:
    return str(people.post(URL, asked(amount, capture="automatic")).json()["id"])


def reverse(people: Tenant, transaction: str, amount: str | None = None, key: str | None = None, **more: Any) -> Any:
    return people.post(f"{URL}/{transaction}/reverse", ({"amount": amount} if amount else {}) | more, key=key)


def has(people: Tenant) -> tuple[int, int]:
    return people.posted(people.account("users:alice:USD")), people.posted(people.account("users:bob:USD"))


def test_a_full_reversal_brings_all_of_it_back(people: Tenant) -> None:
    transaction = paid(people)
    answer = reverse(people, transaction, reference="refund-1", metadata={"why": "returned"})

    shown = answer.json()
    assert (answer.status_code, answer["Location"]) == (201, f"{URL}/{shown['id']}")
    assert (shown["type"], shown["status"], shown["amount"], shown["reverses"]) == (
        "reversal",
        "completed",
        "6.00",
        transaction,
    )
    assert (shown["debit_account"]["path"], shown["credit_account"]["path"]) == ("users:bob:USD", "users:alice:USD")
    assert (shown["reference"], shown["metadata"]) == ("refund-1", {"why": "returned"})
    original = people.get(f"{URL}/{transaction}").json()
    assert (original["status"], original["reversed"], original["version"]) == ("reversed", "6.00", 2)
    assert original["completed_at"] is not None
    assert has(people) == (1000, 0)
    types = OutboxEvent.objects.filter(data__startswith=f'{{"id":"{transaction}"').values_list("type", flat=True)
    assert list(types.order_by("id")) == ["transaction.completed", "transaction.reversed"]
    assert verify(client_id=people.client.pk).holds


def test_partial_reversals_until_all_of_it_is_back(people: Tenant) -> None:
    transaction = paid(people)
    for amount, status, total in (("1.00", "completed", "1.00"), ("2.00", "completed", "3.00")):
        assert reverse(people, transaction, amount).status_code == 201
        original = people.get(f"{URL}/{transaction}").json()
        assert (original["status"], original["reversed"]) == (status, total)
    assert refusal(reverse(people, transaction, "3.01")) == (409, "reversal_exceeds_original")
    assert reverse(people, transaction).json()["amount"] == "3.00"
    assert people.get(f"{URL}/{transaction}").json()["status"] == "reversed"
    assert has(people) == (1000, 0)
    assert verify(client_id=people.client.pk).holds


def test_what_cannot_be_taken_back_has_its_own_code(people: Tenant) -> None:
    transaction = paid(people)
    reversal = reverse(people, transaction).json()["id"]
    assert refusal(reverse(people, transaction)) == (409, "reversal_exceeds_original")
    assert refusal(reverse(people, reversal)) == (409, "reversal_of_reversal")
    failed = people.post(URL, asked("99.00", capture="automatic")).json()["transaction_id"]
    assert refusal(reverse(people, failed)) == (409, "not_reversible")
    assert refusal(reverse(people, held(people, "1.00"))) == (409, "not_reversible")
    other = paid(people, "1.00")
    assert refusal(reverse(people, other, "1.01")) == (409, "reversal_exceeds_original")
    assert refusal(reverse(people, other, "1.001")) == (422, "amount_too_many_decimals")
    assert refusal(people.post(URL, asked("1.00", type="reversal"))) == (422, "type_unknown")


def test_of_what_was_captured_no_more_is_taken_back(people: Tenant) -> None:
    transaction = held(people, "6.00")
    capture(people, transaction, "2.00", final=True)
    assert refusal(reverse(people, transaction, "2.01")) == (409, "reversal_exceeds_original")
    assert reverse(people, transaction).json()["amount"] == "2.00"
    assert verify(client_id=people.client.pk).holds


def test_what_the_books_refuse_is_a_failed_transaction_that_its_key_replays(people: Tenant) -> None:
    transaction = paid(people)
    people.move("users:bob:USD", "cash:USD", "5.00", type="cash_out")
    answer = reverse(people, transaction, key="once")
    assert refusal(answer) == (409, "insufficient_funds")
    again = reverse(people, transaction, key="once")
    assert (refusal(again), again["Idempotent-Replayed"]) == ((409, "insufficient_funds"), "true")
    assert Transaction.objects.filter(reverses__id=transaction).count() == 1
    assert people.get(f"{URL}/{transaction}").json()["reversed"] == "0.00"
    assert reverse(people, transaction, "1.00").status_code == 201
    assert verify(client_id=people.client.pk).holds


def test_a_frozen_account_gives_nothing_back(people: Tenant) -> None:
    transaction = paid(people)
    bob = people.account("users:bob:USD")
    freeze_account(client_id=people.client.pk, account_id=bob.id, sides=Frozen.DEBITS, reason="stolen", actor="staff")
    assert refusal(reverse(people, transaction)) == (409, "account_frozen")


def test_a_key_takes_back_once(people: Tenant) -> None:
    transaction = paid(people)
    first = reverse(people, transaction, "1.00", key="once")
    again = reverse(people, transaction, "1.00", key="once")
    assert (again.status_code, again.json(), again["Idempotent-Replayed"]) == (201, first.json(), "true")
    assert refusal(reverse(people, transaction, "2.00", key="once")) == (422, "idempotency_key_reused")
    assert has(people) == (500, 500)


def test_a_key_of_something_else_is_told_so_whatever_is_to_be_taken_back(people: Tenant) -> None:
    transaction, waiting = paid(people), held(people, "1.00")
    failed = people.post(URL, asked("99.00", capture="automatic")).json()["transaction_id"]
    assert capture(people, waiting, "0.25", key="captured").status_code == 200
    assert reverse(people, transaction, "1.00", key="once").status_code == 201
    reused = (422, "idempotency_key_reused")
    assert refusal(reverse(people, failed, key="once")) == reused
    assert refusal(reverse(people, failed, key="captured")) == reused
    assert refusal(reverse(people, transaction, "6.01", key="once")) == reused
    assert refusal(reverse(people, failed, key="new")) == (409, "not_reversible")


def batch_of(people: Tenant, *amounts: str, mode: str = "partial") -> str:
    items = [asked(amount, capture="automatic") for amount in amounts]
    return str(people.post(f"{URL}/batch", {"mode": mode, "items": items}).json()["id"])


def reverse_all(people: Tenant, batch: str, key: str | None = None) -> Any:
    return people.post(f"/v2/batches/{batch}/reverse", b"", key=key)


def test_a_batch_is_taken_back_whole_by_an_atomic_batch(people: Tenant) -> None:
    batch = batch_of(people, "1.00", "99.00", "2.00", "3.00")
    first = people.get(f"/v2/batches/{batch}/items").json()["data"][0]["transaction"]["id"]
    assert reverse(people, first, "0.25").status_code == 201

    answer = reverse_all(people, batch, key="once")

    shown = answer.json()
    assert (answer.status_code, shown["mode"], shown["status"]) == (207, "atomic", "completed")
    assert [item["transaction"]["amount"] for item in shown["items"]] == ["3.00", "2.00", "0.75"]
    assert has(people) == (1000, 0)
    originals = people.get(f"/v2/batches/{batch}/items").json()["data"]
    assert [item["transaction"] and item["transaction"]["status"] for item in originals] == [
        "reversed",
        "failed",
        "reversed",
        "reversed",
    ]
    again = reverse_all(people, batch, key="once")
    assert (again["Idempotent-Replayed"], again.json()["id"]) == ("true", shown["id"])
    assert refusal(reverse_all(people, batch)) == (409, "not_reversible")
    assert verify(client_id=people.client.pk).holds


def test_what_went_on_within_a_batch_comes_back_first(people: Tenant) -> None:
    people.person("carol")
    items = [asked("6.00", capture="automatic"), body("6.00", debit="bob", credit="carol")]
    batch = people.post(f"{URL}/batch", {"mode": "atomic", "items": items}).json()["id"]

    answer = reverse_all(people, batch)

    assert answer.status_code == 207
    debited = [item["transaction"]["debit_account"]["path"] for item in answer.json()["items"]]
    assert debited == ["users:carol:USD", "users:bob:USD"]
    assert (has(people), people.posted(people.account("users:carol:USD"))) == ((1000, 0), 0)


def test_of_a_batch_that_cannot_be_taken_back_whole_nothing_is(people: Tenant) -> None:
    batch = batch_of(people, "1.00", "2.00", "3.00")
    people.move("users:bob:USD", "cash:USD", "4.50", type="cash_out")
    answer = reverse_all(people, batch)
    assert refusal(answer) == (422, "batch_refused")
    assert [(item["index"], item["code"]) for item in answer.json()["items"]] == [
        (0, "insufficient_funds"),
        (1, "insufficient_funds"),
    ]
    assert has(people) == (400, 150)
    assert Transaction.objects.filter(client=people.client, type="reversal").count() == 0
    assert verify(client_id=people.client.pk).holds


def test_of_two_that_take_a_batch_back_at_once_one_wins(people: Tenant) -> None:
    batch = batch_of(people, "1.00", "2.00")
    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(in_thread, lambda: reverse_all(people, batch)) for _ in range(2)]
        won, lost = sorted((one.result() for one in asking), key=lambda answer: answer.status_code)
    assert (won.status_code, refusal(lost)) == (207, (409, "not_reversible"))
    assert has(people) == (1000, 0)
    assert verify(client_id=people.client.pk).holds


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_what_is_taken_back_of_a_batch_is_what_is_left_when_its_turn_comes(
    people: Tenant, settings: Any, isolation: str
) -> None:
    settings.LEDGER_ISOLATION = isolation
    batch = batch_of(people, "1.00", "2.00")
    first = people.get(f"/v2/batches/{batch}/items").json()["data"][0]["transaction"]["id"]
    works = [lambda: reverse(people, first, "0.25"), lambda: reverse_all(people, batch)]
    with locked(people.account("users:alice:USD")) as holder, ThreadPoolExecutor(2) as pool:
        answers = []
        for number, work in enumerate(works, 1):
            answers.append(pool.submit(in_thread, work))
            assert wait_until(lambda: waiting_for_locks() == number, timeout_s=4)  # noqa: B023  (waited for at once)
        holder.execute("COMMIT")
        part, rest = [answer.result() for answer in answers]

    assert (part.status_code, rest.status_code) == (201, 207)
    assert [item["transaction"]["amount"] for item in rest.json()["items"]] == ["2.00", "0.75"]
    assert has(people) == (1000, 0)
    assert verify(client_id=people.client.pk).holds


def test_a_batch_that_still_runs_or_is_too_large_is_not_taken_back(
    people: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [asked("1.00", capture="automatic")] * 3
    waiting = people.post(f"{URL}/batch", {"items": items}, Prefer="respond-async").json()["id"]
    assert refusal(reverse_all(people, waiting)) == (409, "still_processing")
    batch = batch_of(people, "1.00", "1.00", "1.00")
    monkeypatch.setattr(submit, "ITEMS_MAX", 2)
    assert refusal(reverse_all(people, batch)) == (422, "batch_too_large")
    assert has(people) == (700, 300)
    monkeypatch.setattr(submit, "ITEMS_MAX", 3)
    assert reverse_all(people, batch).status_code == 207


def test_another_tenants_batch_does_not_exist(people: Tenant, other_bank: Tenant) -> None:
    assert refusal(reverse_all(other_bank, batch_of(people, "1.00"))) == (404, "not_found")
