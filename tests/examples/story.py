"""A day of a small shop, on which every operation of the API is asked once at least."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from config.runtime.clock import now
from ledger.models import Batch
from ledger.services.batches.turns import post_due_batch
from ledger.services.posting import post_due
from tests.examples.told import Teller
from tests.ledger.letters import recorded
from tests.ledger.numbered import at_rest
from tests.ledger.queueing import emptied
from tests.ledger.sealed import sealed
from tests.ledger.test_batch_retry import post_with_alice_locked
from tests.ledger.test_retry import fail_again
from tests.people import Tenant

ALICE, BOB, CASH = "users:alice:USD", "users:bob:USD", "cash:USD"
JSON, CSV, XML = "application/json", "text/csv", "application/xml"
WAIT, ASYNC = {"Prefer": "wait=5"}, {"Prefer": "respond-async"}
METRICS = """\
# HELP http_requests_total Requests that were answered.
# TYPE http_requests_total counter
http_requests_total{method="GET",route="v2:transactions",status="200"} 4711.0
"""


def transfer(amount: str = "10.00", **more: Any) -> dict[str, Any]:
    return {
        "type": "transfer",
        "debit_account": ALICE,
        "credit_account": BOB,
        "amount": amount,
        "currency": "USD",
    } | more


def tell(shop: Tenant, monkeypatch: pytest.MonkeyPatch) -> Teller:
    """Live through the day and return who asked."""
    teller = Teller(shop)
    emptied()
    Batch.objects.filter(status="processing").update(next_attempt_at=now() + timedelta(days=365))
    _accounts(teller)
    _transactions(teller)
    _holds(teller)
    _retry(teller, monkeypatch)
    _batches(teller, monkeypatch)
    _changes(teller)
    _books(teller)
    _letters(teller)
    _keys(teller)
    _refusals(teller)
    teller.ask_again()
    return teller


def _accounts(teller: Teller) -> None:
    opened = {"path": ALICE, "currency": "USD", "kind": "liability", "user_id": "alice", "metadata": {"plan": "basic"}}
    alice = teller.ask("create_account", body=opened)
    teller.bank.person("bob")
    teller.ask("get_account", of=alice["id"])
    teller.bank.move(CASH, ALICE, "100.00", type="cash_in", reference="till 1, slip 7")
    teller.ask("list_accounts", query={"user_id": "alice"})


def _transactions(teller: Teller) -> None:
    sent = transfer(reference="order 17", description="Two tickets", metadata={"order": 17})
    sealed()  # the transfer's block is its own
    with teller.repeated():
        accepted = teller.ask("create_transaction", body=sent, status=202)
        teller.ask("create_transaction", body=sent, status=202, headers=ASYNC)
    emptied()
    moved = teller.ask("get_transaction", of=accepted["id"])
    sealed()
    teller.ask("list_transactions", query={"user_id": "alice", "type": "transfer"})
    for question in ("history", "proof", "status"):
        teller.ask(f"get_transaction_{question}", of=moved["id"])
    teller.ask("get_receipt", of=moved["receipt_code"])
    teller.ask("get_receipt_transaction", of=moved["receipt_code"])
    teller.ask("reverse_transaction", of=moved["id"], body={"amount": "2.50", "reference": "one ticket came late"})
    teller.ask("create_transaction", body=sent, status=201, headers=WAIT)
    teller.ask("create_transaction", body=sent, query={"dry_run": "true"}, status=200)


def _holds(teller: Teller) -> None:
    for operation, body in (
        ("capture_transaction", {"amount": "7.50", "final": True}),
        ("void_transaction", {"reason": "the order was cancelled"}),
    ):
        held = teller.bank.move(ALICE, BOB, "8.00", capture="manual", reference="order 18").transaction
        teller.ask(operation, of=str(held.id), body=body)


def _retry(teller: Teller, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = teller.bank.post("/v2/transactions", transfer("3.00", reference="order 19"), Prefer="respond-async")
    failed = waiting.json()["id"]
    fail_again(teller.bank, failed, monkeypatch)
    with teller.repeated():
        for _ in range(2):
            teller.ask("retry_transaction", of=failed, status=202)
        emptied()
        teller.ask("retry_transaction", of=failed, status=200)


def _batches(teller: Teller, monkeypatch: pytest.MonkeyPatch) -> None:
    two = {"mode": "partial", "items": [transfer("1.00", reference="order 20"), transfer("5000.00")]}
    batch = teller.ask("create_batch", body=two, status=207)
    teller.ask("list_batch_items", of=batch["id"])
    teller.ask("get_batch", of=batch["id"])
    teller.ask("list_batches")
    teller.ask("reverse_batch", of=batch["id"])
    teller.ask("create_batch", body=two, query={"dry_run": "true"}, status=207)
    with teller.repeated():
        waiting = teller.ask("create_batch", body=two, status=202, headers=ASYNC)["id"]
        teller.ask("create_batch", body=two, status=202, headers=ASYNC)
    post_with_alice_locked(teller.bank, waiting, monkeypatch)
    with teller.repeated():
        for _ in range(2):
            teller.ask("retry_batch", of=waiting, status=202)
        while post_due(0) or post_due_batch():
            pass
        teller.ask("retry_batch", of=waiting, status=200)


def _changes(teller: Teller) -> None:
    carol = str(teller.bank.person("carol").id)
    stolen, moves = {"reason": "her card was stolen"}, {"reason": "she moves away"}
    teller.ask("freeze_account", of=carol, body=stolen | {"sides": "debits"})
    teller.ask("unfreeze_account", of=carol, body={"reason": "she has a new card"})
    teller.ask("change_account_limits", of=carol, body={"reason": "a small overdraft", "floor": "-10.00"})
    teller.ask("close_account", of=carol, body=moves)
    teller.ask("reopen_account", of=carol, body={"reason": "she is back"})
    teller.ask("list_account_changes", of=carol)


def _books(teller: Teller) -> None:
    erin = str(teller.bank.person("erin").id)
    moved = teller.bank.move(CASH, "users:erin:USD", "20.00", type="cash_in", reference="slip 8").transaction
    teller.ask("get_account_balance", of=erin)
    teller.ask("list_account_entries", of=erin)
    for accept in (JSON, CSV, XML):
        teller.ask("get_account_statement", of=erin, headers={"Accept": accept})
    teller.ask("get_trial_balance")
    day = moved.created_at[:10]
    rows = [
        "id,date,reference,description,counterparty,amount,balance",
        f"b1,{day},slip 8,Cash,,20.00,20.00",
        f"b2,{day},,Fee,,-1.00,19.00",
    ]
    sent = {"account": "users:erin:USD", "mapping": "iso_signed", "content": "\n".join([*rows, ""])}
    compared = teller.ask("create_reconciliation", body=sent)
    teller.ask("get_reconciliation", of=compared["id"])
    teller.ask("list_reconciliations")
    at_rest()
    teller.ask("list_events", query={"types": "account.frozen,account.closed"})
    teller.ask("sync_transactions", query={"limit": "3"})


def _letters(teller: Teller) -> None:
    bank = teller.bank
    first, second, _ = (
        recorded(bank, consumer="inbound:transactions.inbound", offset=f"{bank.client.pk}{n}", event_id=f"order-{n}")
        for n in (21, 22, 23)
    )
    teller.ask("list_dead_letters", query={"client": bank.client.name, "status": "open"})
    teller.ask("get_dead_letter", of=str(first.pk))
    teller.ask("replay_dead_letter", of=str(first.pk), body={"reason": "the account is there now"})
    teller.ask("discard_dead_letter", of=str(second.pk), body={"reason": "sent twice"})
    meant = {"client": bank.client.name, "error_code": "account_unknown"}
    teller.ask("replay_dead_letters", body={"filter": meant, "reason": "the accounts are there now"})


def _keys(teller: Teller) -> None:
    teller.ask("get_me")
    teller.ask("list_keys")
    made = teller.ask("create_key", body={"scopes": ["accounts:read", "transactions:read"], "label": "reports"})
    teller.ask("get_key", of=made["id"])
    teller.ask("rotate_key", of=made["id"], body={"overlap_s": 3600, "reason": "yearly"})
    teller.ask("revoke_key", of=made["id"], body={"reason": "seen in a log"})
    teller.ask("create_token", body={"user_id": "alice", "ttl_s": 300})
    teller.ask("get_health")
    teller.ask("get_metrics", headers={"Accept": "text/plain"})
    teller.told["get_metrics"]["answers"]["200"]["text/plain"] = METRICS


def _refusals(teller: Teller) -> None:
    """Be refused in every way that a client can bring about."""
    unknown, get = "01a00000-0000-7000-8000-000000000000", "get_account"
    etag = teller.bank.get("/v2/me").headers["ETag"]
    teller.ask("get_me", status=304, headers={"If-None-Match": etag})
    teller.ask("get_me", status=412, headers={"If-Match": '"another"'})
    teller.ask("list_accounts", query={"unheard": "of"}, status=400)
    teller.ask(get, of=unknown, status=401, headers={"Authorization": "Bearer nobody"})
    teller.ask(get, of=unknown, status=404)
    teller.ask(get, of=unknown, status=406, headers={"Accept": "image/png"})
    teller.ask("get_receipt", of="RCP-1", status=422)
    teller.ask("create_transaction", body=transfer("5000.00"), status=409, headers=WAIT)
    teller.ask("create_transaction", body=transfer("-1.00"), status=422)
    teller.ask("create_batch", body={"mode": "atomic", "items": [transfer("5000.00")]}, status=422)
    teller.ask("create_transaction", body=transfer(description="x" * 2**20), status=413)
    teller.ask("create_transaction", body=transfer(), status=415, headers={"Content-Type": "text/plain"})
