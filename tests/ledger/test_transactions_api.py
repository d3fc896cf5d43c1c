"""Transactions over HTTP: moved, listed, filtered, looked up by id and receipt, with their history."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from config.runtime.clock import now, rfc3339
from config.runtime.ids import moment_of
from ledger.events.models import OutboxEvent
from ledger.models import Transaction, TransactionEvent
from tests.ledger.test_accounts_api import pages
from tests.people import URL, Tenant, body


def test_a_transfer_is_answered_when_it_is_booked(people: Tenant) -> None:
    said: dict[str, Any] = {
        "reference": "invoice 7",
        "description": "für Bob ✓",
        "metadata": {"order": "7", "n": 1, "gift": False},
    }
    yesterday = rfc3339(now() - timedelta(days=1))
    answer = people.post(URL, body(**said, effective_at=yesterday))

    shown = answer.json()
    assert answer.status_code == 201
    assert (answer["Location"], answer["Preference-Applied"]) == (f"{URL}/{shown['id']}", "wait=5")
    assert {name: shown[name] for name in said} == said
    expected = {"type": "transfer", "status": "completed", "amount": "1.00", "currency": "USD", "error": None}
    expected |= {"user_id": "alice", "peer_user_id": "bob", "effective_at": yesterday}
    assert {name: shown[name] for name in expected} == expected
    assert shown["debit_account"]["path"] == "users:alice:USD"
    assert shown["credit_account"]["path"] == "users:bob:USD"
    assert shown["completed_at"] > shown["created_at"]
    for url in (
        answer["Location"],
        f"/v2/receipts/{shown['receipt_code']}/transaction",
        f"/v2/receipts/{shown['receipt_code'].lower()}/transaction",
    ):
        assert people.get(url).json() == shown
    event = OutboxEvent.objects.get(
        client_id=people.client.pk, type="transaction.completed", data__contains=shown["id"]
    )
    assert str(event.key) == shown["debit_account"]["id"]


def test_accounts_are_named_by_id_or_by_path(people: Tenant) -> None:
    ids = {row["path"]: row["id"] for row in people.get("/v2/accounts").json()["data"]}
    by_id = people.post(URL, body(debit_account=ids["users:alice:USD"], credit_account=ids["users:bob:USD"].upper()))
    assert by_id.json()["debit_account"] == people.post(URL, body()).json()["debit_account"]
    assert by_id.status_code == 201


def test_without_a_preference_the_answer_names_none(people: Tenant) -> None:
    answer = people.post(URL, body(), Prefer="handling=lenient, wait=7; q=1")
    assert answer["Preference-Applied"] == "wait=7"
    assert "Preference-Applied" not in people.post(URL, body(), Prefer="handling=lenient")


def test_a_transaction_belongs_to_the_user_who_pays_or_else_to_the_one_who_is_paid(people: Tenant) -> None:
    paid_in = people.post(URL, body(type="cash_in", debit_account="cash:USD")).json()
    assert (paid_in["user_id"], paid_in["peer_user_id"]) == ("bob", None)
    people.open("users:alice:savings", user_id="alice")
    saved = people.post(URL, body(credit_account="users:alice:savings")).json()
    assert (saved["user_id"], saved["peer_user_id"]) == ("alice", None)


def test_the_history_shows_every_step(people: Tenant) -> None:
    done = people.post(URL, body(), **{"X-Request-ID": "request-0001"}).json()
    steps = people.get(f"{URL}/{done['id']}/history").json()["data"]
    actor = f"key:{people.key.split('_')[1]}"
    assert [(step["status"], step["amount"], step["actor"], step["reason"], step["request_id"]) for step in steps] == [
        ("executing", "1.00", actor, "", "request-0001"),
        ("completed", "1.00", actor, "", "request-0001"),
    ]
    failed = people.post(URL, body(amount="99.00")).json()["transaction_id"]
    steps = people.get(f"{URL}/{failed}/history").json()["data"]
    assert [(step["status"], step["reason"]) for step in steps] == [("executing", ""), ("failed", "insufficient_funds")]
    assert TransactionEvent.objects.filter(transaction_id=failed).count() == 1


@pytest.mark.parametrize(
    ("amount", "decimals"), [("7", "7.00"), ("7.1", "7.10"), ("0.01", "0.01"), ("9" * 36 + ".99", "9" * 36 + ".99")]
)
def test_amounts_are_shown_with_the_currencys_decimals(bank: Tenant, amount: str, decimals: str) -> None:
    bank.open("box")
    shown = bank.post(URL, body(debit_account="cash:USD", credit_account="box", amount=amount)).json()
    assert shown["amount"] == decimals
    assert bank.get("/v2/accounts?path=box").json()["data"][0]["balance"]["available"] == decimals


@pytest.mark.parametrize(
    ("currency", "smallest"), [("JPY", "1"), ("BHD", "0.001"), ("BTC", "0.00000001"), ("ETH", f"0.{1:018}")]
)
def test_the_smallest_unit_of_every_currency_moves(bank: Tenant, currency: str, smallest: str) -> None:
    for path in ("from", "to"):
        bank.open(path, currency=currency)
    sent = body(debit_account="from", credit_account="to", amount=smallest, currency=currency)
    assert bank.post(URL, sent).json()["amount"] == smallest


def test_what_no_column_could_hold_is_refused_by_name(bank: Tenant) -> None:
    bank.open("box")
    largest = "9" * 36 + ".99"
    moved = [bank.move("cash:USD", "box", amount).transaction for amount in (largest, "0.01")]
    assert [one.error.code if one.error else None for one in moved] == [None, "balance_too_large"]


def test_a_list_shows_the_newest_first_and_every_transaction_once(people: Tenant) -> None:
    sent = [people.post(URL, body(amount=f"0.{number:02}")).json()["id"] for number in range(1, 8)]
    found = pages(people, f"{URL}?limit=3")
    assert [len(page) for page in found] == [3, 3, 2]
    assert [row["id"] for page in found for row in page][:7] == sent[::-1]


def test_rows_that_arrive_while_one_leafs_are_neither_skipped_nor_repeated(people: Tenant) -> None:
    for _ in range(4):
        people.post(URL, body())
    first = people.get(f"{URL}?limit=3").json()
    new = people.post(URL, body()).json()["id"]
    second = people.get(f"{URL}?limit=3&cursor={first['next_cursor']}").json()
    rows = [row["id"] for row in first["data"] + second["data"]]
    assert len(set(rows)) == len(rows) == 5
    assert new not in rows


FILTERS = {
    "status=completed": {"cash", "fee", "yen", "five"},
    "status=failed": {"fail"},
    "status__in=failed,completed": {"cash", "fee", "yen", "five", "fail"},
    "type=fee": {"fee"},
    "type__in=fee,cash_in": {"cash", "fee"},
    "currency=JPY": {"yen"},
    "currency__in=JPY,USD": {"cash", "fee", "yen", "five", "fail"},
    "amount=5": {"five", "yen"},
    "amount=5.00": {"five", "yen"},
    "amount__gte=5": {"cash", "five", "yen", "fail"},
    "amount__gt=5": {"cash", "fail"},
    "amount__lt=5": {"fee"},
    "amount__lte=0.50": {"fee"},
    "amount__gte=0": {"cash", "fee", "yen", "five", "fail"},
    "amount__gt=0.499999999999999999&amount__lt=0.500000000000000001": {"fee"},
    "reference=five": {"five"},
    "reference=FIVE": set(),
    "user_id=alice": {"fee", "five", "fail", "cash"},
    "user_id=bob": {"five", "fail"},
    "account=users:bob:USD": {"five", "fail"},
    "account=cash:USD": {"cash", "fee"},
    "account=users:bob:USD&status=failed": {"fail"},
    "account=users:nobody:USD": set(),
}


@pytest.fixture(scope="module")
def varied(django_db_setup, django_db_blocker) -> Any:
    """One transaction of each sort, named by its reference."""
    with django_db_blocker.unblock():
        bank = Tenant.new()
        alice, bob = bank.person("alice"), bank.person("bob")
        for path in ("yen:1", "yen:2"):
            bank.open(path, currency="JPY", kind="asset")
        bank.move("cash:USD", alice.path, "10.00", type="cash_in", reference="cash")
        bank.move(alice.path, "cash:USD", "0.50", type="fee", reference="fee")
        bank.move("yen:1", "yen:2", "5", currency="JPY", reference="yen")
        bank.move(alice.path, bob.path, "5.00", reference="five")
        bank.move(alice.path, bob.path, "99.00", reference="fail")
        yield bank


@pytest.mark.parametrize(("query", "references"), FILTERS.items(), ids=FILTERS)
def test_a_list_is_filtered(db, varied: Tenant, query: str, references: set[str]) -> None:
    page = varied.get(f"{URL}?{query}").json()
    assert {row["reference"] for row in page["data"]} == references


def test_a_list_is_bounded_in_time_to_the_millisecond_of_the_id(people: Tenant) -> None:
    first, second = (people.post(URL, body()).json()["id"] for _ in range(2))
    at = moment_of(Transaction.objects.get(pk=second).pk)
    after = people.get(f"{URL}?created_at__gte={rfc3339(at)}").json()["data"]
    before = people.get(f"{URL}?created_at__lt={rfc3339(at)}").json()["data"]
    assert second in [row["id"] for row in after]
    assert first in [row["id"] for row in before]
    assert {row["id"] for row in after}.isdisjoint(row["id"] for row in before)
    assert len(after) + len(before) == 3
    assert people.get(f"{URL}?created_at__gte={rfc3339(at + timedelta(days=1))}").json()["data"] == []
    assert people.get(f"{URL}?created_at__lt=1969-01-01T00:00:00Z").json()["data"] == []
