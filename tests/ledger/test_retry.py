"""Retrying: what a passing reason kept from being booked goes back into the queue, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command

from config.runtime.clock import now
from ledger.domain.states import Status
from ledger.errors import ATTEMPTS_MAX
from ledger.models import QueuedPosting, Transaction
from ledger.services import posting
from ledger.services.posting import post_due
from tests.ledger.audit import offences
from tests.ledger.locks import locked
from tests.people import URL, Tenant, body

AT_ONCE = "SELECT set_config('lock_timeout', '30ms', true)"
Failing = Callable[[], str]


@pytest.fixture
def contended(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> Failing:
    """Return what makes a transaction that failed because its account stayed locked, by its id."""

    def fail() -> str:
        transaction_id = accept(people)
        fail_again(people, transaction_id, monkeypatch)
        return transaction_id

    return fail


def accept(tenant: Tenant, **more: Any) -> str:
    answer = tenant.post(URL, body(**more), Prefer="respond-async")
    assert answer.status_code == 202
    return str(answer.json()["id"])


def fail_again(tenant: Tenant, transaction_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the poster try a transaction of alice's, whose account is locked, until it gives up."""
    with monkeypatch.context() as patch, locked(tenant.account("users:alice:USD")):
        patch.setattr(posting, "ROUND_PATIENCE", AT_ONCE)
        while QueuedPosting.objects.filter(pk=UUID(transaction_id)).update(next_attempt_at=now()):
            post_due(0)


def shown(tenant: Tenant, transaction_id: str) -> Any:
    return tenant.get(f"{URL}/{transaction_id}").json()


def retry(tenant: Tenant, transaction_id: str, **headers: str) -> Any:
    return tenant.http().post(
        f"{URL}/{transaction_id}/retry", data="", content_type="application/json", headers=headers
    )


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_retry_sends_it_on_its_way_and_it_is_booked_once(people: Tenant, contended: Failing) -> None:
    failed = contended()
    assert shown(people, failed)["error"] == {
        "code": "contention",
        "detail": "Other postings kept it from being booked, however often it was tried.",
        "retryable": True,
        "pointer": None,
    }
    answer = retry(people, failed)
    assert (answer.status_code, answer.json()["status"], answer.json()["version"]) == (202, "processing", 3)
    assert answer["Location"] == f"{URL}/{failed}"
    post_due(0)
    assert (shown(people, failed)["status"], shown(people, failed)["version"]) == ("completed", 4)
    assert people.posted(people.account("users:bob:USD")) == 100
    steps = [step["status"] for step in people.get(f"{URL}/{failed}/history").json()["data"]]
    assert steps == ["processing", "executing", "failed", "processing", "executing", "completed"]
    assert offences(people.client.pk) == []


def test_the_poster_tries_three_times_and_a_retry_gives_two_more(
    people: Tenant, contended: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = contended()
    assert Transaction.objects.get(pk=failed).attempts == 3
    assert retry(people, failed).status_code == 202
    fail_again(people, failed, monkeypatch)
    row = Transaction.objects.get(pk=failed)
    assert (row.status, row.attempts) == ("failed", ATTEMPTS_MAX)
    assert shown(people, failed)["error"]["retryable"] is False
    assert refusal(retry(people, failed)) == (409, "parked")


def test_what_a_business_rule_refused_is_final(people: Tenant) -> None:
    first, second = accept(people, amount="6.00"), accept(people, amount="6.00")
    post_due(0)
    assert (shown(people, first)["status"], shown(people, second)["status"]) == ("completed", "failed")
    assert shown(people, second)["error"]["retryable"] is False
    assert refusal(retry(people, second)) == (409, "not_retryable")
    assert refusal(retry(people, first)) == (409, "not_failed")
    assert refusal(retry(people, accept(people))) == (409, "still_processing")


def test_another_clients_transaction_does_not_exist(people: Tenant, other_bank: Tenant, contended: Failing) -> None:
    failed = contended()
    assert refusal(retry(other_bank, failed)) == refusal(retry(other_bank, str(uuid4()))) == (404, "not_found")
    assert shown(people, failed)["status"] == "failed"


def test_a_retry_with_a_key_is_one_retry(people: Tenant, contended: Failing) -> None:
    failed = contended()
    first, second = (retry(people, failed, **{"Idempotency-Key": "again"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert ("Idempotent-Replayed" in first, second["Idempotent-Replayed"]) == (False, "true")
    post_due(0)
    after = retry(people, failed, **{"Idempotency-Key": "again"})
    assert (after.status_code, after.json()["status"]) == (200, "completed")
    other = retry(people, contended(), **{"Idempotency-Key": "again"})
    assert refusal(other) == (422, "idempotency_key_reused")


JSON, FORM = "application/json", "application/x-www-form-urlencoded"
BODIES: list[tuple[str, str, tuple[int, str]]] = [
    ("", JSON, (404, "not_found")),
    ("{}", JSON, (404, "not_found")),
    ("", FORM, (404, "not_found")),
    ('{"force": true}', JSON, (422, "field_unknown")),
    ("[]", JSON, (422, "field_type")),
    ("null", JSON, (422, "field_type")),
    ("{", JSON, (400, "json_invalid")),
    ("force=true", FORM, (415, "media_type_unsupported")),
]


@pytest.mark.parametrize("path", ["transactions", "batches"])
@pytest.mark.parametrize(("body", "media_type", "expected"), BODIES)
def test_a_retry_takes_no_body(bank: Tenant, path: str, body: str, media_type: str, expected: tuple[int, str]) -> None:
    answer = bank.http().generic("POST", f"/v2/{path}/{uuid4()}/retry", body, CONTENT_TYPE=media_type)
    assert refusal(answer) == expected


def test_a_retry_with_a_body_moves_nothing(people: Tenant, contended: Failing) -> None:
    failed = contended()
    answer = people.post(f"{URL}/{failed}/retry", {"force": True})
    assert [refusal(answer), answer.json()["errors"][0]["pointer"]] == [(422, "field_unknown"), "/force"]
    assert shown(people, failed)["status"] == "failed"


def test_a_full_queue_takes_no_retry(people: Tenant, contended: Failing, settings: Any) -> None:
    failed = contended()
    accept(people)
    settings.PROCESSOR_QUEUE_SIZE = 1
    answer = retry(people, failed)
    assert refusal(answer) == (503, "queue_full")
    assert int(answer["Retry-After"]) >= 1
    assert shown(people, failed)["status"] == "failed"


def reprocess(*arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command("reprocess_transactions", *arguments, "--json", stdout=out)
    answer: dict[str, Any] = json.loads(out.getvalue().splitlines()[-1])
    return answer


def test_staff_reprocess_what_is_parked_and_a_dry_run_only_counts(
    people: Tenant, contended: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    parked, name = contended(), people.client.name
    assert retry(people, parked).status_code == 202
    fail_again(people, parked, monkeypatch)
    chosen = ("--since", "1h", "--client", name)
    assert reprocess(*chosen, "--dry-run") == {"found": 1, "codes": {"contention": 1}, "requeued": 0}
    assert reprocess(*chosen, "--code", "timeout") == {"found": 0, "codes": {}, "requeued": 0}
    assert reprocess(*chosen, "--code", "contention")["requeued"] == 1
    post_due(0)
    assert shown(people, parked)["status"] == "completed"
    last = Transaction.objects.get(pk=parked).history.latest("id")
    assert (last.actor, last.to_status) == ("command:reprocess_transactions", "completed")


def test_staff_bring_forward_what_waits_for_its_next_attempt(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = accept(people)
    with monkeypatch.context() as patch, locked(people.account("users:alice:USD")):
        patch.setattr(posting, "ROUND_PATIENCE", AT_ONCE)
        post_due(0)
    assert QueuedPosting.objects.get(pk=UUID(waiting)).next_attempt_at > now()
    assert reprocess("--since", "1h", "--status", "processing", "--client", people.client.name)["requeued"] == 1
    post_due(0)
    assert shown(people, waiting)["status"] == Status.COMPLETED


def test_reprocessing_leaves_scheduled_transactions_to_their_time(people: Tenant) -> None:
    scheduled = accept(people, execute_at="2027-01-01T00:00:00Z")
    answer = reprocess("--since", "1h", "--status", "processing", "--client", people.client.name)
    assert answer == {"found": 0, "codes": {}, "requeued": 0}
    assert QueuedPosting.objects.get(pk=UUID(scheduled)).next_attempt_at.year == 2027


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "yesterday"], "no time"),
        (["--since", "1h", "--client", "nobody"], "no client 'nobody'"),
        (["--since", "1h", "--status", "processing", "--code", "timeout"], "goes with --status failed"),
        (["--since", "1h", "--code", "insufficient_funds"], "invalid choice"),
        ([], "--since"),
    ],
)
def test_wrong_arguments_are_told_plainly(db, arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("reprocess_transactions", *arguments)
