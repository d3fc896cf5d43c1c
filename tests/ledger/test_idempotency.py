"""One key, one effect: however often, however parallel, from whichever process it is asked."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from django.conf import settings

from config.localstack.processes import wait_until
from config.localstack.stack import ROOT
from config.runtime.clock import now, rfc3339
from ledger.clients.scopes import SCOPES
from ledger.clients.services import create_key
from ledger.models import Account, Entry, Transaction
from tests.ledger.audit import offences
from tests.ledger.hostile import connect
from tests.ledger.locks import in_thread, locked, waiting_for_locks
from tests.people import URL, Tenant, body


def bob_has(bank: Tenant) -> str:
    return str(bank.get("/v2/accounts?path=users:bob:USD").json()["data"][0]["balance"]["posted"])


def test_a_repeated_request_is_answered_and_not_repeated(people: Tenant) -> None:
    first, second = (people.post(URL, body(), key="once") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert (first.get("Idempotent-Replayed"), second["Idempotent-Replayed"]) == (None, "true")
    assert bob_has(people) == "1.00"


def test_a_body_with_its_fields_in_another_order_is_the_same_body(people: Tenant) -> None:
    people.post(URL, body(metadata={"a": 1, "b": 2}), key="once")
    shuffled = dict(reversed(body(metadata={"b": 2, "a": 1}).items()))
    assert people.post(URL, json.dumps(shuffled, indent=3), key="once")["Idempotent-Replayed"] == "true"


def test_a_quoted_key_is_the_key(people: Tenant) -> None:
    people.post(URL, body(), key="once")
    assert people.post(URL, body(), key='"once"')["Idempotent-Replayed"] == "true"
    assert people.post(URL, body(), key="Once").get("Idempotent-Replayed") is None


@pytest.mark.parametrize("change", [{"amount": "1.0"}, {"amount": "2.00"}, {"reference": "r"}, {"metadata": {"a": 1}}])
def test_a_key_with_another_body_is_refused(people: Tenant, change: dict[str, Any]) -> None:
    people.post(URL, body(), key="once")
    answer = people.post(URL, body(**change), key="once")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert bob_has(people) == "1.00"


def test_a_key_belongs_to_one_operation(people: Tenant) -> None:
    account = {"path": "users:carol:USD", "currency": "USD", "kind": "liability"}
    assert people.post("/v2/accounts", account, key="account").status_code == 201
    assert people.post(URL, body(), key="transaction").status_code == 201
    for url, sent, key in ((URL, body(), "account"), ("/v2/accounts", account | {"path": "x"}, "transaction")):
        answer = people.post(url, sent, key=key)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert bob_has(people) == "1.00"
    assert not Account.objects.filter(client=people.client, path="x").exists()


def test_a_failure_is_replayed_even_when_it_would_succeed_now(people: Tenant) -> None:
    bank = people
    failed = bank.post(URL, body(amount="11.00"), key="once")
    bank.move("cash:USD", "users:alice:USD", "100.00", type="cash_in")
    again = bank.post(URL, body(amount="11.00"), key="once")
    for answer in (failed, again):
        assert (answer.status_code, answer.json()["code"]) == (409, "insufficient_funds")
    assert failed.json()["transaction_id"] == again.json()["transaction_id"]
    assert again["Idempotent-Replayed"] == "true"
    assert bob_has(bank) == "0.00"


def test_a_repeated_opening_is_answered_with_the_account_as_it_is_now(bank: Tenant) -> None:
    account = {"path": "users:carol:USD", "currency": "USD", "kind": "liability", "user_id": "carol"}
    first = bank.post("/v2/accounts", account, key="once")
    bank.move("cash:USD", "users:carol:USD", "5.00", type="cash_in")
    second = bank.post("/v2/accounts", account, key="once")
    assert (second.status_code, second["Idempotent-Replayed"]) == (201, "true")
    assert second.json()["id"] == first.json()["id"]
    assert second.json()["balance"]["posted"] == "5.00"
    assert bank.post("/v2/accounts", account, key="other").json()["code"] == "path_taken"


Answer = tuple[int, str, bool]


def post_together(tenants: Sequence[Tenant], url: str = URL, sent: Any = None) -> list[Answer]:
    """Send one request from as many threads at once; return statuses, ids (or codes) and whether it was a replay."""
    begin = Barrier(len(tenants))

    def one(tenant: Tenant) -> Answer:
        begin.wait()
        answer = tenant.post(url, sent or body(), key="once")
        return answer.status_code, answer.json().get("id", answer.json().get("code")), "Idempotent-Replayed" in answer

    with ThreadPoolExecutor(len(tenants)) as pool:
        return [asked.result() for asked in [pool.submit(in_thread, partial(one, tenant)) for tenant in tenants]]


def assert_one_effect(bank: Tenant, answers: list[Answer]) -> None:
    assert {status for status, _, _ in answers} == {201}, Counter(answers)
    assert len({identifier for _, identifier, _ in answers}) == 1
    assert Counter(replayed for _, _, replayed in answers) == {False: 1, True: len(answers) - 1}
    assert bob_has(bank) == "1.00"
    assert Transaction.objects.filter(client=bank.client, idempotency_key="once").count() == 1
    assert Entry.objects.filter(account__client=bank.client, account__path="users:bob:USD").count() == 1
    assert offences(bank.client.pk) == []


def test_50_equal_requests_at_once_have_one_effect(people: Tenant) -> None:
    assert_one_effect(people, post_together([people] * 50))


def test_more_threads_than_connections_are_all_answered(people: Tenant) -> None:
    """Each looks its own key up first: who waits for the commit must not keep the connection that it needs."""
    bank = people
    keys = [create_key(client=bank.client, scopes=SCOPES, actor="test")[1] for _ in range(30)]
    assert len(keys) > settings.DATABASES["default"]["OPTIONS"]["pool"]["max_size"]
    assert_one_effect(bank, post_together([Tenant(bank.client, key) for key in keys]))


def test_50_equal_openings_at_once_open_one_account(bank: Tenant) -> None:
    account = {"path": "users:carol:USD", "currency": "USD", "kind": "liability", "user_id": "carol"}
    answers = post_together([bank] * 50, "/v2/accounts", account)
    assert {status for status, _, _ in answers} == {201}
    assert len({identifier for _, identifier, _ in answers}) == 1
    assert Counter(replayed for _, _, replayed in answers) == {False: 1, True: 49}


ANOTHER_PROCESS = """
import json, sys, django
django.setup()
from ledger.clients.models import Client
from tests.ledger.test_idempotency import post_together
from tests.people import URL, Tenant, body
client_id, key = sys.argv[1:]
bank = Tenant(Client.objects.get(pk=client_id), key)
print("ready", flush=True)
sys.stdin.readline()
print("answers", json.dumps(post_together([bank] * 25)), flush=True)
"""


def said(process: subprocess.Popen[str], word: str) -> str:
    """Return what the process prints after `word`; its log stands on other lines."""
    assert process.stdout
    return next(line.removeprefix(word) for line in process.stdout if line.startswith(word))


def test_50_equal_requests_to_two_processes_have_one_effect(people: Tenant) -> None:
    bank = people
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(bank.client.pk), bank.key]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin
        said(other, "ready")
        other.stdin.write("go\n")
        other.stdin.flush()
        ours = post_together([bank] * 25)
        theirs = [(answer[0], answer[1], answer[2]) for answer in json.loads(said(other, "answers"))]
    assert_one_effect(bank, ours + theirs)


def test_of_a_transaction_and_an_opening_with_one_key_at_once_one_is_done(people: Tenant) -> None:
    """Their keys stand in two tables, and neither sees what the other has not committed."""
    bank = people
    account = {"path": "users:carol:USD", "currency": "USD", "kind": "liability"}
    holder = locked(bank.account("users:alice:USD"))
    with ThreadPoolExecutor(2) as pool:
        moving = pool.submit(in_thread, partial(bank.post, URL, body(), key="once"))
        wait_until(lambda: waiting_for_locks() == 1, 5)
        opening = pool.submit(in_thread, partial(bank.post, "/v2/accounts", account, key="once"))
        wait_until(lambda: waiting_for_locks() == 2, 5)
        holder.close()
        assert moving.result().status_code == 201
        assert (opening.result().status_code, opening.result().json()["code"]) == (422, "idempotency_key_reused")
    assert not Account.objects.filter(client=bank.client, path="users:carol:USD").exists()


def test_a_transaction_waits_for_an_opening_with_its_key(people: Tenant) -> None:
    bank = people
    account = {"path": "users:carol:USD", "currency": "USD", "kind": "liability"}
    rival = connect("app")
    rival.execute("BEGIN")
    rival.execute(
        "INSERT INTO ledger_account (public_id, client_id, path, kind, currency_id, metadata, status, frozen)"
        " VALUES (gen_random_uuid(), %s, 'users:carol:USD', 'asset', 'USD', '{}', 'active', 'none')",
        [bank.client.pk],
    )
    with ThreadPoolExecutor(2) as pool:
        opening = pool.submit(in_thread, partial(bank.post, "/v2/accounts", account, key="once"))
        wait_until(lambda: waiting_for_locks() == 1, 5)
        moving = pool.submit(in_thread, partial(bank.post, URL, body(), key="once"))
        wait_until(lambda: waiting_for_locks() == 2, 5)
        rival.close()
        assert opening.result().status_code == 201
        assert (moving.result().status_code, moving.result().json()["code"]) == (422, "idempotency_key_reused")
    assert bob_has(bank) == "0.00"


OVERTAKEN: dict[str, dict[str, Any]] = {
    "a hold that has expired": {"capture": "manual", "expires_at": timedelta(seconds=1.2)},
    "what took effect too long ago by now": {"effective_at": timedelta(seconds=1.2) - timedelta(days=90)},
}


@pytest.mark.parametrize("moments", OVERTAKEN.values(), ids=OVERTAKEN)
@pytest.mark.parametrize("prefer", ["wait=5", "respond-async"])
def test_a_replay_is_answered_when_the_times_of_the_request_have_passed(
    people: Tenant, moments: dict[str, Any], prefer: str
) -> None:
    sent = body("1.00") | {
        name: rfc3339(now() + value) if isinstance(value, timedelta) else value for name, value in moments.items()
    }
    first = people.post(URL, sent, key="early", Prefer=prefer)
    assert first.status_code in {201, 202}
    batch = people.post(f"{URL}/batch", {"items": [sent | {"idempotency_key": "item"}]}).json()
    time.sleep(1.3)

    again = people.post(URL, sent, key="early", Prefer=prefer)
    assert (again.json()["id"], again["Idempotent-Replayed"]) == (first.json()["id"], "true")
    other = people.post(URL, sent | {"amount": "2.00"}, key="early", Prefer=prefer)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    repeated = people.post(f"{URL}/batch", {"items": [sent | {"idempotency_key": "item"}]}).json()
    assert repeated["items"][0]["transaction"]["id"] == batch["items"][0]["transaction"]["id"]

    late = people.post(URL, sent, key="late", Prefer=prefer)
    code = "expires_at_out_of_range" if "expires_at" in moments else "effective_at_too_old"
    assert (late.status_code, late.json()["code"]) == (422, code)
    item = people.post(f"{URL}/batch", {"items": [sent]}).json()["items"][0]
    assert (item["status"], item["error"]["code"], item["transaction"]) == (422, code, None)


def test_a_dry_run_looks_at_no_key(people: Tenant) -> None:
    booked = people.post(URL, body("1.00"), key="taken").json()
    tried = people.post(f"{URL}?dry_run=true", body("2.00"), key="taken")
    assert (tried.status_code, tried.json()["amount"]) == (200, "2.00")
    assert tried.json()["id"] != booked["id"]
