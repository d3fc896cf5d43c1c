"""Accounts over HTTP: opened, listed, looked at, with their balances and entries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from config.runtime.clock import rfc3339
from ledger.events.models import OutboxEvent
from ledger.models import Entry
from ledger.services.accounts import Opening, open_accounts
from tests.people import Tenant

CAROL = {"path": "users:carol:USD", "currency": "USD", "kind": "liability", "user_id": "carol"}


def pages(tenant: Tenant, url: str) -> list[list[Any]]:
    """Walk a list from its first page to its last, and return the pages' rows."""
    page = tenant.get(url).json()
    found = [page["data"]]
    while page["next_cursor"] is not None:
        page = tenant.get(f"{url}&cursor={page['next_cursor']}").json()
        found.append(page["data"])
    return found


def test_an_account_opens_at_zero_and_is_told_once(bank: Tenant) -> None:
    answer = bank.post("/v2/accounts", CAROL | {"metadata": {"team": "red", "n": 7, "vip": True, "gone": None}})

    account = answer.json()
    created_at = account.pop("created_at")
    assert answer.status_code == 201
    assert answer["Location"] == f"/v2/accounts/{account['id']}"
    assert account == CAROL | {
        "id": account["id"],
        "status": "active",
        "frozen": "none",
        "floor": "0.00",
        "ceiling": None,
        "balance": {"posted": "0.00", "held": "0.00", "available": "0.00"},
        "metadata": {"team": "red", "n": 7, "vip": True, "gone": None},
    }
    assert bank.get(answer["Location"]).json() == account | {"created_at": created_at}
    told = OutboxEvent.objects.filter(client_id=bank.client.pk, key=account["id"])
    assert [event.type for event in told] == ["account.opened"]


@pytest.mark.parametrize(
    ("change", "floor", "ceiling"),
    [
        ({}, "0.00", None),
        ({"user_id": None}, None, None),
        ({"kind": "asset"}, None, None),
        ({"floor": None}, None, None),
        ({"floor": "-500.00"}, "-500.00", None),
        ({"floor": "-0.5", "ceiling": "1"}, "-0.50", "1.00"),
        ({"currency": "JPY", "floor": "-500"}, "-500", None),
        ({"currency": "ETH", "ceiling": "0.000000000000000001"}, "0.000000000000000000", "0.000000000000000001"),
    ],
)
def test_limits_are_those_asked_for_or_those_of_the_kind(
    bank: Tenant, change: dict[str, Any], floor: str | None, ceiling: str | None
) -> None:
    account = bank.post("/v2/accounts", CAROL | change).json()
    assert (account["floor"], account["ceiling"]) == (floor, ceiling)


@pytest.mark.parametrize(
    ("kind", "side", "shown"),
    [
        ("asset", "debit", "5.00"),
        ("expense", "debit", "5.00"),
        ("liability", "debit", "-5.00"),
        ("income", "credit", "5.00"),
        ("equity", "credit", "5.00"),
        ("asset", "credit", "-5.00"),
    ],
)
def test_a_balance_is_shown_on_its_normal_side(bank: Tenant, kind: str, side: str, shown: str) -> None:
    box = bank.open("box", kind=kind)
    bank.move(*(("box", "cash:USD") if side == "debit" else ("cash:USD", "box")), "5.00")
    assert bank.get(f"/v2/accounts/{box.id}").json()["balance"]["posted"] == shown
    entry = bank.get(f"/v2/accounts/{box.id}/entries").json()["data"][0]
    assert (entry["side"], entry["amount"], entry["balance_after"]) == (side, "5.00", shown)


def test_a_list_shows_the_newest_first_and_every_account_once(bank: Tenant) -> None:
    opened = [bank.open(f"box:{number}").path for number in range(7)]
    found = pages(bank, "/v2/accounts?limit=3")
    assert [len(page) for page in found] == [3, 3, 2]
    assert [row["path"] for page in found for row in page] == [*reversed(opened), "cash:USD"]


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("path=users:alice:USD", ["users:alice:USD"]),
        ("path=users:ALICE:USD", []),
        ("user_id=alice", ["users:alice:EUR", "users:alice:USD"]),
        ("currency=EUR", ["users:alice:EUR"]),
        ("kind=asset", ["cash:USD"]),
        ("status=closed", []),
        ("user_id=alice&currency=USD", ["users:alice:USD"]),
    ],
)
def test_a_list_is_narrowed(bank: Tenant, query: str, paths: list[str]) -> None:
    bank.person("alice")
    bank.person("bob")
    bank.open("users:alice:EUR", currency="EUR", user_id="alice")
    assert [row["path"] for row in bank.get(f"/v2/accounts?{query}").json()["data"]] == paths


def test_the_entries_are_an_accounts_book(bank: Tenant) -> None:
    alice, bob = bank.person("alice", holding="10.00"), bank.person("bob")
    for amount in ("1.00", "2.00", "4.00"):
        bank.move(alice.path, bob.path, amount)

    found = pages(bank, f"/v2/accounts/{alice.id}/entries?limit=2")

    lines = [line for page in found for line in page]
    assert [(line["account_version"], line["side"], line["amount"], line["balance_after"]) for line in lines] == [
        (4, "debit", "4.00", "3.00"),
        (3, "debit", "2.00", "7.00"),
        (2, "debit", "1.00", "9.00"),
        (1, "credit", "10.00", "10.00"),
    ]
    assert {line["account"]["path"] for line in lines} == {alice.path}
    assert bank.get(f"/v2/receipts/{lines[0]['receipt_code']}").json()["id"] == lines[0]["transaction_id"]


def test_a_page_can_be_turned_back(bank: Tenant) -> None:
    alice = bank.person("alice", holding="10.00")
    for _ in range(4):
        bank.move(alice.path, "cash:USD", "1.00")
    url = f"/v2/accounts/{alice.id}/entries?limit=2"
    first = bank.get(url).json()
    second = bank.get(f"{url}&cursor={first['next_cursor']}").json()
    back = bank.get(f"{url}&cursor={second['prev_cursor']}").json()
    assert first["prev_cursor"] is None
    assert back["data"] == first["data"] != second["data"]


def test_a_balance_is_known_at_every_moment(bank: Tenant) -> None:
    alice = bank.person("alice")
    for number in range(9):
        bank.move("cash:USD", alice.path, f"{number + 1}.00")
    posted = list(Entry.objects.filter(account__public_id=alice.id).order_by("account_version"))
    url = f"/v2/accounts/{alice.id}/balance"

    for version, entry in enumerate(posted, 1):
        at = bank.get(f"{url}?at={rfc3339(entry.posted_at)}").json()
        before = bank.get(f"{url}?at={rfc3339(entry.posted_at - timedelta(microseconds=1))}").json()
        expected = f"{version * (version + 1) // 2}.00"
        assert (at["version"], at["posted"], at["available"]) == (version, expected, expected)
        assert before["version"] == version - 1
    assert bank.get(url).json()["posted"] == "45.00"
    shown = bank.get(f"{url}?at={quote('2026-01-01T00:00:00+02:00')}").json()
    assert (shown["at"], shown["version"], shown["posted"]) == ("2025-12-31T22:00:00.000000Z", 0, "0.00")
    assert bank.get(f"{url}?at=0999-01-01T00:00:00Z").json()["at"] == "0999-01-01T00:00:00.000000Z"


def test_accounts_opened_together_are_opened_once(bank: Tenant) -> None:
    openings = [Opening(path=f"box:{number}", currency="USD", kind="asset") for number in (1, 2, 2)]
    assert open_accounts(client_id=bank.client.pk, openings=openings) == 2
    assert open_accounts(client_id=bank.client.pk, openings=openings) == 0
    assert len(bank.get("/v2/accounts").json()["data"]) == 3


def test_a_path_that_looks_like_an_id_still_names_its_account(bank: Tenant) -> None:
    path = "01a00000-0000-7000-8000-00000000abcd"
    bank.open(path)
    credited = bank.move("cash:USD", path, "1.00").transaction.credit_account
    assert credited is not None
    assert credited.path == path
