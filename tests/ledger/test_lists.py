"""Lists of transactions: a user's rows come from two indexes, and filters look through bounded windows."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.people import Tenant, body


def _walk(bank: Tenant, query: str, cursor_name: str = "next_cursor", start: str = "") -> list[list[str]]:
    """Follow the cursors and return the ids page by page."""
    pages, cursor = [], start
    while True:
        answer = bank.get(f"/v2/transactions?{query}{'&cursor=' + cursor if cursor else ''}").json()
        pages.append([row["id"] for row in answer["data"]])
        cursor = answer[cursor_name]
        if cursor is None:
            return pages


@pytest.fixture
def traffic(bank: Tenant) -> list[str]:
    """Twenty transfers of alice's in both directions, each beside one of bob's that is none of hers; newest first."""
    alice, bob, carol = (bank.person(name, holding="1000.00") for name in ("alice", "bob", "carol"))
    hers = []
    for number in range(20):
        pair = (alice, bob) if number % 3 else (bob, alice)
        hers.append(str(bank.move(pair[0].path, pair[1].path, "1.00").transaction.id))
        bank.move(bob.path, carol.path, "1.00")
    top_up = bank.get("/v2/transactions?user_id=alice&type=cash_in").json()["data"][0]["id"]
    return [*reversed(hers), top_up]


def test_a_users_list_merges_what_she_sent_and_what_she_got(bank: Tenant, traffic: list[str]) -> None:
    pages = _walk(bank, "user_id=alice&limit=4")

    assert [identifier for page in pages for identifier in page] == traffic
    assert [len(page) for page in pages] == [4, 4, 4, 4, 4, 1]


def test_a_users_list_reads_the_same_backwards(bank: Tenant, traffic: list[str]) -> None:
    last: dict[str, Any] = {"next_cursor": ""}
    while last["next_cursor"] is not None:
        cursor = f"&cursor={last['next_cursor']}" if last["next_cursor"] else ""
        last = bank.get(f"/v2/transactions?user_id=alice&limit=4{cursor}").json()

    backwards = _walk(bank, "user_id=alice&limit=4", "prev_cursor", start=last["prev_cursor"])

    assert [identifier for page in reversed(backwards) for identifier in page] == traffic[:-1]


def test_an_account_filter_finds_both_sides_and_nothing_else(bank: Tenant, traffic: list[str]) -> None:
    found = bank.get("/v2/transactions?account=users:alice:USD&limit=200").json()["data"]

    assert [row["id"] for row in found] == traffic


def test_an_account_without_a_user_is_found_too(bank: Tenant, traffic: list[str]) -> None:
    found = bank.get("/v2/transactions?account=cash:USD").json()["data"]

    assert [row["type"] for row in found] == ["cash_in"] * 3


def test_times_cut_the_list_by_id(bank: Tenant, traffic: list[str]) -> None:
    seventh = bank.get(f"/v2/transactions/{traffic[7]}").json()["created_at"]

    later = bank.get(f"/v2/transactions?user_id=alice&created_at__gte={seventh}").json()["data"]
    earlier = bank.get(f"/v2/transactions?user_id=alice&created_at__lt={seventh}").json()["data"]

    assert [row["id"] for row in later + earlier] == traffic
    assert all(row["created_at"] < seventh for row in earlier)


def test_amounts_are_compared_in_major_units_of_each_rows_currency(bank: Tenant) -> None:
    bank.person("alice", holding="10.00")
    for currency in ("JPY", "ETH"):
        bank.open(f"cash:{currency}", kind="asset", currency=currency)
        bank.open(f"users:alice:{currency}", currency=currency, user_id="alice")
    bank.move("cash:JPY", "users:alice:JPY", "10", currency="JPY")
    bank.move("cash:ETH", "users:alice:ETH", "9.999999999999999999", currency="ETH")

    found = bank.get("/v2/transactions?amount__gte=10").json()["data"]

    assert sorted((row["amount"], row["currency"]) for row in found) == [("10", "JPY"), ("10.00", "USD")]
    assert bank.get("/v2/transactions?amount=9.999999999999999999").json()["data"][0]["currency"] == "ETH"


@pytest.mark.usefixtures("remembered_keys")
@pytest.mark.parametrize(("query", "statements"), [("limit=2", 1), ("user_id=alice", 2), ("status=completed", 2)])
def test_a_page_costs_the_same_statements_however_many_rows(bank: Tenant, traffic, query: str, statements: int) -> None:
    bank.get("/v2/transactions?limit=1")

    with CaptureQueriesContext(connection) as asked:
        bank.get(f"/v2/transactions?{query}")

    assert len(asked) == statements, [one["sql"] for one in asked]


def test_every_list_is_counted_on_request(bank: Tenant) -> None:
    account = bank.person("alice", holding="10.00")
    bank.person("bob")
    batch = bank.post("/v2/transactions/batch", {"mode": "partial", "items": [body()]}).json()["id"]
    ids = {"accounts": account.id, "batches": batch}
    paths = bank.get("/v2/schema").json()["paths"]
    taken = {path: {one["name"] for one in paths[path].get("get", {}).get("parameters", ())} for path in paths}

    counted = {}
    for path in (path for path, names in taken.items() if "count" in names):
        answer = bank.get(path.replace("{id}", str(ids.get(path.split("/")[2]))) + "?count=true")
        assert answer.status_code == 200, path
        counted[path] = answer.json()["count"]["value"]

    own = {"/v2/accounts": 3, "/v2/transactions": 2, "/v2/batches": 1, "/v2/keys": 1, "/v2/reconciliations": 0}
    own |= {"/v2/accounts/{id}/entries": 2, "/v2/accounts/{id}/history": 0, "/v2/batches/{id}/items": 1}
    assert counted | {"/v2/dead-letters": 0} == own | {"/v2/dead-letters": 0}  # those are of all clients
    uncounted = {path for path, names in taken.items() if {"limit", "cursor"} <= names and "count" not in names}
    assert uncounted == {"/v2/transactions/sync", "/v2/reconciliations/{id}"}


@pytest.fixture
def orders(bank: Tenant) -> dict[str, str]:
    """Transfers by the order that their metadata name, and ids."""
    bank.person("alice", holding="10.00"), bank.person("bob")
    said: dict[str, dict[str, Any]] = {
        "as a text": {"order": "7", "shop": "north"},
        "as a number": {"order": 7},
        "another's": {"order": "77", "shop": "north"},
        "under a key like a look-up": {"order__regex": "."},
        "none": {},
    }
    return {
        name: bank.post("/v2/transactions", body(metadata=metadata)).json()["id"] for name, metadata in said.items()
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("metadata.order=7", ["as a text"]),
        ("metadata.shop=north", ["another's", "as a text"]),
        ("metadata.shop=north&metadata.order=7", ["as a text"]),
        ("metadata.shop=north&type=transfer&amount__lt=2", ["another's", "as a text"]),
        ("metadata.shop=north&type=fee", []),
        ("metadata.order__regex=.", ["under a key like a look-up"]),
        ("metadata.order=%257", []),
        ("metadata.shop=North", []),
        ("metadata.shop=north%20", []),
        ("metadata.nobody=1", []),
    ],
)
def test_metadata_are_found_by_their_texts(bank: Tenant, orders: dict[str, str], query: str, found: list[str]) -> None:
    shown = bank.get(f"/v2/transactions?{query}&count=true").json()

    assert [row["id"] for row in shown["data"]] == [orders[name] for name in found]
    assert shown["count"] == {"value": len(found), "is_capped": False}


def test_accounts_are_found_by_their_metadata_too(bank: Tenant) -> None:
    bank.open("box", metadata={"branch": "17"})
    bank.open("chest", metadata={"branch": 17})

    assert [row["path"] for row in bank.get("/v2/accounts?metadata.branch=17").json()["data"]] == ["box"]


def test_a_cursor_is_bound_to_the_metadata_that_are_looked_for(bank: Tenant, orders: dict[str, str]) -> None:
    cursor = bank.get("/v2/transactions?metadata.shop=north&limit=1").json()["next_cursor"]

    onward = bank.get(f"/v2/transactions?limit=1&cursor={cursor}&metadata.shop=north").json()
    elsewhere = bank.get(f"/v2/transactions?limit=1&cursor={cursor}&metadata.shop=south")

    assert [row["id"] for row in onward["data"]] == [orders["as a text"]]
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (400, "cursor_mismatch")


@pytest.mark.parametrize(
    ("query", "name", "code"),
    [
        ("metadata=7", "metadata", "parameter_unknown"),
        ("metadata.=7", "metadata.", "parameter_invalid"),
        ("metadata.a%20b=7", "metadata.a b", "parameter_invalid"),
        ("metadata.a%0A=7", "metadata.a\n", "parameter_invalid"),
        ("metadata.%D9%A1=7", "metadata.\u0661", "parameter_invalid"),
        (f"metadata.{'k' * 41}=7", f"metadata.{'k' * 41}", "parameter_invalid"),
        (f"metadata.k={'v' * 501}", "metadata.k", "parameter_invalid"),
        ("&".join(f"metadata.k{number}=7" for number in range(11)), "metadata.k10", "parameter_invalid"),
        ("metadata.k=", "metadata.k", "parameter_empty"),
        ("metadata.k=%00", "metadata.k", "parameter_invalid"),
        ("metadata.k=1&metadata.k=2", "metadata.k", "parameter_repeated"),
        ("Metadata.k=1", "Metadata.k", "parameter_unknown"),
        ("metadata__k=1", "metadata__k", "parameter_unknown"),
    ],
)
def test_odd_metadata_are_refused_by_name(bank: Tenant, query: str, name: str, code: str) -> None:
    answer = bank.get(f"/v2/transactions?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "parameters_refused")
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(name, code)]
