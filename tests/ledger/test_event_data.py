"""What an event tells is what the API answers."""

from __future__ import annotations

import json
from datetime import timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from config.runtime.clock import now, rfc3339
from ledger.domain.states import Status
from ledger.events.models import OutboxEvent
from ledger.events.types import OUTCOMES, EventType
from tests.ledger.queueing import due_now, emptied, send
from tests.people import URL, Tenant, body


@pytest.fixture
def people(bank: Tenant) -> Tenant:
    bank.person("alice", holding="100.00")
    bank.person("bob")
    return bank


def sent(people: Tenant, amount: str, **more: Any) -> Any:
    """Send money from alice to bob, and return the transaction as GET answers it."""
    answer = people.post(URL, body(amount, **more)).json()
    return people.get(f"{URL}/{answer.get('transaction_id') or answer['id']}").json()


def told(people: Tenant, event_type: str, shown: dict[str, Any]) -> Any:
    event = OutboxEvent.objects.get(client_id=people.client.pk, type=event_type, data__contains=shown["id"])
    assert event.key == UUID(shown["debit_account"]["id"])
    return json.loads(event.data)


SAID: dict[str, dict[str, Any]] = {
    "the least": {},
    "all that can be said": {
        "reference": "invoice 7",
        "description": "Bücher — “two”\\\n",
        "metadata": {"team": "red", "n": 2**53 - 1, "vip": True, "gone": None},
        "effective_at": (now() - timedelta(days=1)).astimezone(timezone(timedelta(hours=1))).isoformat(),
    },
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_a_completed_transaction_is_told_as_it_is_answered_with_its_entries(people: Tenant, said: dict[str, Any]):
    shown = sent(people, "1.50", **said)

    data = told(people, "transaction.completed", shown)

    entries = data.pop("entries")
    assert data == shown
    assert list(data) == list(shown)
    assert [(entry["account"], entry["side"], entry["amount"], entry["balance_after"]) for entry in entries] == [
        (shown["debit_account"], "debit", "1.50", "98.50"),
        (shown["credit_account"], "credit", "1.50", "1.50"),
    ]


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_what_was_accepted_and_then_posted_is_told_as_it_is_answered(people: Tenant, said: dict[str, Any]) -> None:
    later = rfc3339(now() + timedelta(hours=1))
    first, second = (
        send(people, body(amount=amount, execute_at=later, **said)).json()["id"] for amount in ("60.00", "60.01")
    )
    assert not OutboxEvent.objects.filter(client_id=people.client.pk, data__contains=first).exists()
    due_now(UUID(first), UUID(second))
    emptied()

    for transaction_id, event_type, lines in ((first, "transaction.completed", 2), (second, "transaction.failed", 0)):
        shown = people.get(f"{URL}/{transaction_id}").json()
        data = told(people, event_type, shown)
        assert len(data.pop("entries")) == lines
        assert data == shown
        assert (shown["version"], shown["execute_at"]) == (2, later)


def test_an_entry_is_told_as_it_is_listed(people: Tenant) -> None:
    data = told(people, "transaction.completed", sent(people, "1.50"))

    for entry in data["entries"]:
        newest = people.get(f"/v2/accounts/{entry['account']['id']}/entries").json()["data"][0]
        assert {name: newest[name] for name in entry} == entry
        assert newest.keys() - entry.keys() == {
            "journal_id",
            "transaction_id",
            "receipt_code",
            "currency",
            "posted_at",
            "effective_at",
        }
        assert newest["transaction_id"] == data["id"]


def test_a_failed_transaction_is_told_as_it_is_answered_without_entries(people: Tenant) -> None:
    shown = sent(people, "100.01", metadata={"n": 1})

    assert shown["error"]["code"] == "insufficient_funds"
    assert told(people, "transaction.failed", shown) == shown | {"entries": []}


def test_types_keep_their_names() -> None:
    assert sorted(EventType) == [
        "account.closed",
        "account.frozen",
        "account.limits_changed",
        "account.opened",
        "account.reopened",
        "account.unfrozen",
        "batch.completed",
        "batch.failed",
        "dead_letter.discarded",
        "dead_letter.recorded",
        "dead_letter.replayed",
        "transaction.captured",
        "transaction.completed",
        "transaction.expired",
        "transaction.failed",
        "transaction.pending",
        "transaction.reversed",
        "transaction.voided",
    ]
    assert OUTCOMES.keys() == set(Status) - {Status.PROCESSING}
