"""Retrying a batch: what a passing reason kept from being booked is tried again, and nothing else is."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from config.runtime.clock import now
from ledger.models import Batch, BatchItem, QueuedPosting
from ledger.services import batch_turns, posting
from ledger.services.batch_turns import post_due_batch
from ledger.services.posting import post_due
from tests.ledger.locks import locked
from tests.ledger.reference import offences
from tests.people import Tenant

URL = "/v2/transactions/batch"
AT_ONCE = "SELECT set_config('lock_timeout', '30ms', true)"


@pytest.fixture
def people(bank: Tenant) -> Tenant:
    for name in ("alice", "bob", "carol"):
        bank.person(name, holding="10.00")
    return bank


def item(debit: str, credit: str, amount: str = "1.00") -> dict[str, Any]:
    accounts = {"debit_account": f"users:{debit}:USD", "credit_account": f"users:{credit}:USD"}
    return {"type": "transfer", "amount": amount, "currency": "USD"} | accounts


def submit(tenant: Tenant, *items: dict[str, Any]) -> str:
    answer = tenant.post(URL, {"mode": "partial", "items": list(items)}, Prefer="respond-async")
    assert answer.status_code == 202
    return str(answer.json()["id"])


def post_with_alice_locked(tenant: Tenant, batch_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the batch turns while alice's account is locked, until nothing of it waits."""
    with monkeypatch.context() as patch, locked(tenant.account("users:alice:USD")):
        patch.setattr(batch_turns, "ROUND_PATIENCE", AT_ONCE)
        while Batch.objects.filter(pk=batch_id, status="processing").update(next_attempt_at=now()):
            post_due_batch()


def counts(tenant: Tenant, batch_id: str) -> dict[str, int]:
    found: dict[str, int] = tenant.get(f"/v2/batches/{batch_id}").json()["counts"]
    return found


def error_of(batch_id: str) -> dict[str, Any]:
    """Return why the only item of a batch was refused."""
    error = BatchItem.objects.get(batch=UUID(batch_id)).error
    assert error is not None
    return dict(error)


def retry(tenant: Tenant, batch_id: str, **headers: str) -> Any:
    return tenant.http().post(f"/v2/batches/{batch_id}/retry", headers=headers)


def test_only_what_a_passing_reason_kept_back_is_tried_again(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = submit(people, item("alice", "bob"), item("bob", "carol"), item("carol", "bob", "99.00"))
    post_with_alice_locked(people, batch, monkeypatch)
    assert counts(people, batch) == {"total": 3, "waiting": 0, "processing": 0, "completed": 1, "failed": 2}
    answer = retry(people, batch)
    assert (answer.status_code, answer.json()["status"], answer.json()["counts"]["waiting"]) == (202, "processing", 1)
    while post_due_batch():
        pass
    assert counts(people, batch) == {"total": 3, "waiting": 0, "processing": 0, "completed": 2, "failed": 1}
    assert (retry(people, batch).status_code, retry(people, batch).json()["code"]) == (409, "not_retryable")
    assert people.posted(people.account("users:carol:USD")) == 1100
    assert offences(people.client.pk) == []


def test_after_five_tries_in_all_an_item_is_given_up(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = submit(people, item("alice", "bob"))
    post_with_alice_locked(people, batch, monkeypatch)
    assert error_of(batch)["retryable"] is True
    assert retry(people, batch).status_code == 202
    post_with_alice_locked(people, batch, monkeypatch)
    assert error_of(batch)["retryable"] is False
    assert retry(people, batch).json()["code"] == "not_retryable"


def test_a_failed_transaction_of_a_batch_goes_back_into_the_queue(
    people: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"type": "transfer", "amount": "1.00", "currency": "USD", "reference": "later"}
    body |= {"debit_account": "users:alice:USD", "credit_account": "users:bob:USD"}
    accepted = people.post("/v2/transactions", body, key="item", Prefer="respond-async").json()["id"]
    with monkeypatch.context() as patch, locked(people.account("users:alice:USD")):
        patch.setattr(posting, "ROUND_PATIENCE", AT_ONCE)
        while QueuedPosting.objects.filter(pk=accepted).update(next_attempt_at=now()):
            post_due(0)
    answer = people.post(URL, {"mode": "partial", "items": [body | {"idempotency_key": "item"}]})
    assert (answer.status_code, answer.json()["items"][0]["error"]["code"]) == (207, "contention")
    assert retry(people, answer.json()["id"]).json()["counts"]["processing"] == 1
    post_due(0)
    assert counts(people, answer.json()["id"])["completed"] == 1


def test_a_retry_with_a_key_is_one_retry(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = submit(people, item("alice", "bob"))
    post_with_alice_locked(people, batch, monkeypatch)
    first, second = (retry(people, batch, **{"Idempotency-Key": "again"}) for _ in range(2))
    assert (first.status_code, second.status_code, second["Idempotent-Replayed"]) == (202, 202, "true")
    assert counts(people, batch)["waiting"] == 1


def test_another_clients_batch_does_not_exist(people: Tenant, other_bank: Tenant) -> None:
    batch = submit(people, item("alice", "bob"))
    assert (retry(other_bank, batch).status_code, retry(other_bank, batch).json()["code"]) == (404, "not_found")


def test_a_refused_atomic_batch_stays_refused(people: Tenant) -> None:
    answer = people.post(URL, {"mode": "atomic", "items": [item("alice", "bob", "99.00")]})
    assert answer.json()["code"] == "batch_refused"
    assert retry(people, answer.json()["batch_id"]).json()["code"] == "not_retryable"


def test_a_batch_that_is_running_is_not_to_be_retried(people: Tenant) -> None:
    assert retry(people, submit(people, item("alice", "bob"))).json()["code"] == "not_failed"
