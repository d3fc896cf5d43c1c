"""Retrying a batch: what a passing reason kept from being booked is tried again, and nothing else is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from config.runtime.clock import now
from ledger.clients.models import AuditEntry
from ledger.models import Batch, BatchItem
from ledger.queries.batches import waiting_items
from ledger.services.batches import room, turns
from ledger.services.batches.turns import post_due_batch
from ledger.services.posting import post_due
from tests.ledger.audit import offences
from tests.ledger.locks import locked
from tests.ledger.test_refused_rounds import database_refuses
from tests.ledger.test_retry import fail_again, reprocess
from tests.people import Tenant

URL = "/v2/transactions/batch"
AT_ONCE = "SELECT set_config('lock_timeout', '30ms', true)"


@pytest.fixture
def people(bank: Tenant) -> Tenant:
    """A bank where each of three holds 10.00; no other batch is due."""
    Batch.objects.filter(status="processing").update(next_attempt_at=now() + timedelta(days=365))
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
        patch.setattr(turns, "ROUND_PATIENCE", AT_ONCE)
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
    return tenant.http().post(
        f"/v2/batches/{batch_id}/retry", data="", content_type="application/json", headers=headers
    )


def park(tenant: Tenant, batch_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what needs alice's account be tried as often as may be."""
    post_with_alice_locked(tenant, batch_id, monkeypatch)
    assert retry(tenant, batch_id).status_code == 202
    post_with_alice_locked(tenant, batch_id, monkeypatch)


def drain() -> None:
    while post_due_batch():
        pass


def test_only_what_a_passing_reason_kept_back_is_tried_again(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = submit(people, item("alice", "bob"), item("bob", "carol"), item("carol", "bob", "99.00"))
    post_with_alice_locked(people, batch, monkeypatch)
    assert counts(people, batch) == {"total": 3, "waiting": 0, "processing": 0, "completed": 1, "failed": 2}
    answer = retry(people, batch)
    assert (answer.status_code, answer.json()["status"], answer.json()["counts"]["waiting"]) == (202, "processing", 1)
    drain()
    assert counts(people, batch) == {"total": 3, "waiting": 0, "processing": 0, "completed": 2, "failed": 1}
    assert (retry(people, batch).status_code, retry(people, batch).json()["code"]) == (409, "not_retryable")
    assert people.posted(people.account("users:carol:USD")) == 1100
    assert offences(people.client.pk) == []


def test_after_five_tries_in_all_an_item_is_parked(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = submit(people, item("alice", "bob"))
    post_with_alice_locked(people, batch, monkeypatch)
    assert (error_of(batch)["retryable"], BatchItem.objects.get(batch=UUID(batch)).attempts) == (True, 3)
    assert retry(people, batch).status_code == 202
    post_with_alice_locked(people, batch, monkeypatch)
    assert (error_of(batch)["retryable"], BatchItem.objects.get(batch=UUID(batch)).attempts) == (False, 5)
    assert (retry(people, batch).status_code, retry(people, batch).json()["code"]) == (409, "parked")
    assert counts(people, batch) == {"total": 1, "waiting": 0, "processing": 0, "completed": 0, "failed": 1}


def test_what_may_be_tried_again_is_retried_beside_what_is_parked(
    people: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = submit(people, item("alice", "bob"), item("alice", "carol"))
    park(people, batch, monkeypatch)
    BatchItem.objects.filter(batch=UUID(batch), index=1).update(attempts=4)
    assert (retry(people, batch).status_code, counts(people, batch)["waiting"]) == (202, 1)
    drain()
    assert retry(people, batch).json()["code"] == "parked"
    assert (people.posted(people.account("users:bob:USD")), people.posted(people.account("users:carol:USD"))) == (
        1000,
        1100,
    )


def test_a_batch_whose_failed_transaction_is_parked_is_parked(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    body = item("alice", "bob")
    accepted = people.post("/v2/transactions", body, key="item", Prefer="respond-async").json()["id"]
    fail_again(people, accepted, monkeypatch)
    batch = people.post(URL, {"mode": "partial", "items": [body | {"idempotency_key": "item"}]}).json()["id"]
    assert retry(people, batch).status_code == 202
    fail_again(people, accepted, monkeypatch)
    assert retry(people, batch).json()["code"] == "parked"


def test_a_full_queue_of_batches_takes_no_retry(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = submit(people, item("alice", "bob"))
    post_with_alice_locked(people, batch, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(room, "QUEUE_SIZE", waiting_items())
        full = retry(people, batch)
    assert (full.status_code, full.json()["code"]) == (503, "queue_full")
    assert 1 <= int(full["Retry-After"]) <= 60
    assert counts(people, batch) == {"total": 1, "waiting": 0, "processing": 0, "completed": 0, "failed": 1}
    assert retry(people, batch).status_code == 202


def test_a_retry_leaves_those_that_wait_their_pause(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = submit(people, item("alice", "bob"), item("alice", "carol"))
    monkeypatch.setattr(turns, "ROUND_PATIENCE", AT_ONCE)
    monkeypatch.setattr(turns, "ONE_BY_ONE_S", 0.0)
    with locked(people.account("users:alice:USD")):
        for _ in range(4):
            Batch.objects.filter(pk=batch).update(next_attempt_at=now())
            post_due_batch()
    due_at = Batch.objects.get(pk=batch).next_attempt_at
    assert retry(people, batch).json()["counts"]["waiting"] == 2
    assert Batch.objects.get(pk=batch).next_attempt_at == due_at


def test_staff_have_parked_items_posted_and_a_dry_run_only_counts(
    people: Tenant, other_bank: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = submit(people, item("alice", "bob"), item("carol", "bob", "99.00"), item("alice", "carol"))
    park(people, batch, monkeypatch)
    chosen = ("--since", "1h", "--client", people.client.name)
    nothing = {"found": 0, "codes": {}, "requeued": 0}
    assert reprocess(*chosen, "--dry-run") == {"found": 2, "codes": {"contention": 2}, "requeued": 0}
    assert reprocess(*chosen, "--code", "timeout") == nothing
    assert reprocess(*chosen, "--status", "processing") == nothing
    assert reprocess("--since", "1h", "--client", other_bank.client.name) == nothing
    assert reprocess("--since", (now() + timedelta(minutes=1)).isoformat(), "--client", people.client.name) == nothing
    assert counts(people, batch)["waiting"] == 0

    assert reprocess(*chosen, "--code", "contention") == {"found": 2, "codes": {"contention": 2}, "requeued": 2}
    assert counts(people, batch)["waiting"] == 2
    assert reprocess(*chosen) == nothing
    drain()
    assert counts(people, batch) == {"total": 3, "waiting": 0, "processing": 0, "completed": 2, "failed": 1}
    assert people.posted(people.account("users:bob:USD")) == 1100
    noted = AuditEntry.objects.get(client=people.client, action="batch.reprocessed")
    assert (noted.actor, noted.object_id, noted.detail) == ("command:reprocess_transactions", batch, {"items": 2})
    assert offences(people.client.pk) == []


def test_one_that_staff_send_again_in_vain_is_parked_again(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = submit(people, item("alice", "bob"))
    park(people, batch, monkeypatch)
    chosen = ("--since", "1h", "--client", people.client.name)
    assert reprocess(*chosen)["requeued"] == 1
    post_with_alice_locked(people, batch, monkeypatch)
    assert BatchItem.objects.get(batch=UUID(batch)).attempts == 6
    assert retry(people, batch).json()["code"] == "parked"
    assert reprocess(*chosen)["requeued"] == 1


def test_what_a_defect_refused_staff_have_posted_when_it_is_mended_and_a_group_whole(people: Tenant) -> None:
    batch = submit(people, item("alice", "bob") | {"group": "a"}, item("alice", "bob", "3.13") | {"group": "a"})
    with database_refuses(people.account("users:bob:USD"), 313):
        drain()
        assert counts(people, batch)["failed"] == 2
        assert retry(people, batch).json()["code"] == "not_retryable"
        chosen = ("--since", "1h", "--client", people.client.name, "--code", "posting_refused")
        assert reprocess(*chosen) == {"found": 2, "codes": {"posting_refused": 2}, "requeued": 2}
        drain()
        assert counts(people, batch)["failed"] == 2
    assert reprocess(*chosen)["requeued"] == 2
    drain()
    assert counts(people, batch)["completed"] == 2
    assert people.posted(people.account("users:bob:USD")) == 1413


def test_staff_bring_forward_items_that_wait_for_their_next_attempt(
    people: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = submit(people, item("alice", "bob"))
    with monkeypatch.context() as patch, locked(people.account("users:alice:USD")):
        patch.setattr(turns, "ROUND_PATIENCE", AT_ONCE)
        post_due_batch()
    assert post_due_batch() == 0
    chosen = ("--since", "1h", "--status", "processing", "--client", people.client.name)
    assert reprocess(*chosen) == {"found": 1, "codes": {"": 1}, "requeued": 1}
    assert post_due_batch() == 1
    assert counts(people, batch)["completed"] == 1


def test_a_failed_transaction_of_a_batch_goes_back_into_the_queue(
    people: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = item("alice", "bob")
    accepted = people.post("/v2/transactions", body, key="item", Prefer="respond-async").json()["id"]
    fail_again(people, accepted, monkeypatch)
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
    assert retry(people, submit(people, item("alice", "bob"))).json()["code"] == "still_processing"
