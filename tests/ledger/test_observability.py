"""What one request leaves for its operator: lines, metrics and events that lead back to it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from config.runtime.ids import uuid7
from config.runtime.logging import set_role
from config.runtime.tracing import span
from ledger.domain.accounts import Frozen
from ledger.domain.legs import pair
from ledger.domain.receipts import receipt_code
from ledger.events.models import OutboxEvent
from ledger.models import Journal
from ledger.posting.engine import post
from ledger.posting.intents import Intent
from ledger.queries.accounts import find_accounts
from ledger.services.account_changes import freeze_account, unfreeze_account
from tests.people import URL, Tenant, body

REQUEST = "order-0815"
CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{CALLER}-00f067aa0ba902b7-01"


@pytest.fixture
def written(people: Tenant, capfd: Any) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Give the lines written so far, as objects; the process counts as a web process."""
    capfd.readouterr()
    set_role("web")
    yield lambda: [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    set_role("command")


def figures() -> dict[str, float]:
    """Return the samples of the metrics of money that count."""
    names = {"transactions", "transactions_failed", "transactions_duration_seconds", "receipt_batch_size"}
    return {
        f"{sample.name} {' '.join(sample.labels.values())}".strip(): sample.value
        for metric in REGISTRY.collect()
        if metric.name in names
        for sample in metric.samples
        if sample.name.endswith(("_total", "_count"))
    }


def moved_since(before: dict[str, float], expected: dict[str, float]) -> dict[str, float]:
    """Return what has moved; a batch is counted just after it has answered."""
    deadline = time.monotonic() + 5
    while True:
        changes = {name: value - before.get(name, 0.0) for name, value in figures().items()}
        moved = {name: change for name, change in changes.items() if change}
        if moved == expected or time.monotonic() > deadline:
            return moved
        time.sleep(0.005)


def test_a_transaction_leaves_its_life_in_the_log_under_the_id_of_its_request(people: Tenant, written: Any) -> None:
    answer = people.post(URL, body("1.50"), **{"X-Request-ID": REQUEST})

    shown = answer.json()
    lines = [line for line in written() if line["event"].startswith("transaction.")]
    assert [line["event"] for line in lines] == ["transaction.start", "transaction.executing", "transaction.success"]
    said = {"receipt": shown["receipt_code"], "request_id": REQUEST, "type": "transfer"}
    said |= {"amount": "1.50", "currency": "USD", "accounts": 2, "role": "web", "level": "info"}
    for line in lines:
        assert {name: line[name] for name in said} == said
    success = lines[-1]
    assert success["journal"] == str(Journal.objects.get(transaction_id=shown["id"]).pk)
    assert 0 < success["duration_ms"] < 60_000
    assert not any("error" in line for line in lines)


def test_a_failing_transaction_says_why_in_the_log_under_the_id_of_its_request(people: Tenant, written: Any) -> None:
    answer = people.post(URL, body("99.00"), **{"X-Request-ID": REQUEST})

    receipt = answer.json()["receipt_code"]
    lines = [line for line in written() if line["event"].startswith("transaction.")]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("transaction.start", "info"),
        ("transaction.executing", "info"),
        ("transaction.error", "warning"),
    ]
    assert {(line["receipt"], line["request_id"], line["amount"]) for line in lines} == {(receipt, REQUEST, "99.00")}
    assert lines[-1]["error"] == "insufficient_funds"
    assert lines[-1]["duration_ms"] > 0
    assert "journal" not in lines[-1]


def test_the_canonical_line_names_client_and_route(people: Tenant, written: Any) -> None:
    shown = people.post(URL, body("1.00"), **{"X-Request-ID": REQUEST, "traceparent": TRACEPARENT}).json()

    (line,) = [line for line in written() if line["event"] == "http.request"]
    said = {"client": people.client.name, "route": "v2:transactions", "method": "POST", "status": 201}
    said |= {"request_id": REQUEST, "trace_id": CALLER, "receipt_code": shown["receipt_code"]}
    assert {name: line[name] for name in said} == said


def test_a_completed_transaction_is_counted_once(people: Tenant) -> None:
    before = figures()

    assert people.post(URL, body("1.00")).status_code == 201

    expected = {
        "transactions_total transfer completed": 1.0,
        "transactions_duration_seconds_count transfer": 1.0,
        "receipt_batch_size_count": 1.0,
    }
    assert moved_since(before, expected) == expected


def test_a_failed_transaction_is_counted_once_with_its_code(people: Tenant) -> None:
    before = figures()

    assert people.post(URL, body("99.00")).status_code == 409

    expected = {
        "transactions_total transfer failed": 1.0,
        "transactions_failed_total insufficient_funds": 1.0,
        "transactions_duration_seconds_count transfer": 1.0,
        "receipt_batch_size_count": 1.0,
    }
    assert moved_since(before, expected) == expected


def traces(bank: Tenant, **chosen: Any) -> list[tuple[str, str]]:
    events = OutboxEvent.objects.filter(client_id=bank.client.pk, **chosen).order_by("pk")
    return [(event.type, event.trace) for event in events]


def test_the_outbox_row_of_a_transaction_carries_the_trace_of_its_request(people: Tenant) -> None:
    shown = people.post(URL, body("1.00"), traceparent=TRACEPARENT).json()
    untraced = people.post(URL, body("1.00")).json()
    failed = people.post(URL, body("99.00"), traceparent=TRACEPARENT).json()

    assert traces(people, data__contains=shown["id"]) == [("transaction.completed", TRACEPARENT)]
    assert traces(people, data__contains=untraced["id"]) == [("transaction.completed", "")]
    assert traces(people, data__contains=failed["transaction_id"]) == [("transaction.failed", TRACEPARENT)]


def test_the_outbox_row_of_an_account_carries_the_trace_of_who_opened_or_froze_it(bank: Tenant) -> None:
    opening = {"path": "users:carol:USD", "currency": "USD", "kind": "liability", "user_id": "carol"}
    account = bank.post("/v2/accounts", opening, traceparent=TRACEPARENT).json()
    with span("support", kind="internal", carrier={"traceparent": TRACEPARENT}):
        freeze_account(client_id=bank.client.pk, account_id=account["id"], sides=Frozen.BOTH, actor="staff", reason="-")
    unfreeze_account(client_id=bank.client.pk, account_id=account["id"], actor="staff", reason="-")

    assert traces(bank, key=account["id"]) == [
        ("account.opened", TRACEPARENT),
        ("account.frozen", TRACEPARENT),
        ("account.unfrozen", ""),
    ]


def test_requests_that_share_a_commit_keep_their_own_ids_and_traces(people: Tenant, written: Any) -> None:
    alice, bob = (find_accounts(people.client.pk, (path := f"users:{name}:USD",))[path] for name in ("alice", "bob"))
    asked = [
        Intent(
            id=uuid7(),
            client_id=people.client.pk,
            type="transfer",
            amount_minor=1,
            legs=pair(alice, bob, 1),
            actor="test",
            request_id=f"request-{number}",
            trace=trace,
        )
        for number, trace in enumerate(("", TRACEPARENT, TRACEPARENT.replace("4bf9", "5cf9")))
    ]

    post(asked)

    told = [OutboxEvent.objects.get(client_id=people.client.pk, data__contains=str(one.id)).trace for one in asked]
    assert told == [one.trace for one in asked]
    succeeded = [line for line in written() if line["event"] == "transaction.success"]
    assert [(line["receipt"], line["request_id"]) for line in succeeded] == [
        (receipt_code(one.id), one.request_id) for one in asked
    ]
