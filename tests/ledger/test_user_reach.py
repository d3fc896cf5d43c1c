"""What an end user's token sees: the user's own accounts, what moved on them, and the own side of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from config.runtime.ids import uuid7
from ledger.domain.receipts import receipt_code
from ledger.domain.shapes import AccountShape, TransactionShape
from ledger.status import look_up
from tests.ledger.routes import UNKNOWN, operations
from tests.people import Tenant


@dataclass
class Town:
    """alice and carol held 100.00 each, of which alice has paid bob 10.00 and carol 20.00."""

    bank: Tenant
    alice: AccountShape
    bob: AccountShape
    carol: AccountShape
    alice_to_bob: TransactionShape
    carol_to_bob: TransactionShape

    def user(self, name: str) -> Tenant:
        return self.bank.as_user(name)


@pytest.fixture
def town(bank: Tenant) -> Town:
    alice, carol = bank.person("alice", holding="100.00"), bank.person("carol", holding="100.00")
    bob = bank.person("bob")
    return Town(
        bank,
        alice,
        bob,
        carol,
        bank.move(alice.path, bob.path, "10.00").transaction,
        bank.move(carol.path, bob.path, "20.00").transaction,
    )


def told(answer: Any) -> tuple[int, dict[str, Any]]:
    """Return what an answer says without the request's own id."""
    document = answer.json()
    document.pop("request_id", None)
    return answer.status_code, document


def legs(bank: Tenant, *asked: tuple[str, str, str]) -> dict[str, Any]:
    """Book a transaction of legs and return it as the client sees it."""
    body = {
        "type": "transfer",
        "legs": [{"account": path, "side": side, "amount": amount, "currency": "USD"} for path, side, amount in asked],
    }
    answer = bank.post("/v2/transactions", body)
    assert answer.status_code == 201, answer.content
    shape: dict[str, Any] = answer.json()
    return shape


def payroll(town: Town) -> dict[str, Any]:
    town.bank.open("wages:USD", kind="expense")
    return legs(
        town.bank,
        ("wages:USD", "debit", "9000.00"),
        ("users:alice:USD", "credit", "2000.00"),
        ("users:bob:USD", "credit", "3000.00"),
        ("users:carol:USD", "credit", "4000.00"),
    )


def test_lists_show_what_is_the_user_s_whatever_is_asked_for(town: Town) -> None:
    alice, bob = town.user("alice"), town.user("bob")

    assert [row["path"] for row in alice.get("/v2/accounts").json()["data"]] == ["users:alice:USD"]
    assert {row["id"] for row in alice.get("/v2/transactions?status=completed&type=transfer").json()["data"]} == {
        str(town.alice_to_bob.id)
    }
    both = {str(town.alice_to_bob.id), str(town.carol_to_bob.id)}
    assert {row["id"] for row in bob.get("/v2/transactions").json()["data"]} == both
    nothing: dict[str, Any] = {"data": [], "next_cursor": None, "prev_cursor": None}
    for query in (
        "accounts?user_id=carol",
        "accounts?path=users:carol:USD",
        "accounts?path=cash:USD",
        "accounts?path_prefix=users:carol",
        "accounts?path_prefix=cash",
        "accounts?path_prefix=users&user_id=carol",
        "transactions?user_id=carol",
        "transactions?account=users:carol:USD",
        f"transactions?account={town.carol.id}",
        "transactions?account=cash:USD",
        "transactions?account=users:bob:USD",
        "transactions?account=users:alice:USD&user_id=carol",
    ):
        assert alice.get(f"/v2/{query}").json() == nothing, query
    assert [row["path"] for row in alice.get("/v2/accounts?path_prefix=users").json()["data"]] == ["users:alice:USD"]
    assert len(alice.get("/v2/transactions?account=users:alice:USD&user_id=alice").json()["data"]) == 2


def test_a_user_does_not_learn_how_many_rows_there_are(town: Town) -> None:
    """Among them are those that a page leaves out: the fees of others."""
    for name in ("accounts", "transactions"):
        answer = town.user("alice").get(f"/v2/{name}?count=true")
        assert (answer.status_code, answer.json()["code"]) == (403, "not_for_users")


def test_what_is_another_user_s_is_told_like_what_is_missing_on_every_route(town: Town) -> None:
    alice, missing_id = town.user("alice"), uuid7()
    others: dict[str, list[Any]] = {"accounts": [town.carol.id, town.bob.id, town.bank.account("cash:USD").id]}
    others |= {"transactions": [town.carol_to_bob.id], "receipts": [town.carol_to_bob.receipt_code]}
    routes = [one for one in operations() if one.is_open_to_users and any(name in one.url for name in UNKNOWN.values())]
    assert len(routes) == 8

    for route in routes:
        kind = route.url.split("/")[2]
        shown = next(name for name in UNKNOWN.values() if name in route.url)
        missing = receipt_code(missing_id) if kind == "receipts" else str(missing_id)
        for other in others[kind]:
            url = route.url.replace(shown, str(other))
            assert town.bank.get(url).status_code == 200
            assert told(alice.get(url)) == told(alice.get(route.url.replace(shown, missing)))
            assert alice.get(url).status_code == 404, url


def test_both_sides_of_a_transfer_see_it_and_where_it_stands(town: Town) -> None:
    transfer = town.alice_to_bob
    for name in ("alice", "bob"):
        user = town.user(name)
        urls = (f"transactions/{transfer.id}", f"receipts/{transfer.receipt_code}/transaction")
        for url in urls:
            assert user.get(f"/v2/{url}").json()["amount"] == "10.00"
        for url in (f"transactions/{transfer.id}/status", f"receipts/{transfer.receipt_code}"):
            assert user.get(f"/v2/{url}").json()["status"] == "completed"


def test_a_status_that_is_remembered_is_shown_to_nobody_else(town: Town) -> None:
    assert look_up(town.bank.client.pk, UUID(str(town.carol_to_bob.id))).status == "completed"

    assert town.user("alice").get(f"/v2/transactions/{town.carol_to_bob.id}/status").status_code == 404


def test_a_user_s_account_is_shown_with_entries_balances_and_statement(town: Town) -> None:
    alice, place = town.user("alice"), f"/v2/accounts/{town.alice.id}"

    assert alice.get(place).json()["balance"]["posted"] == "90.00"
    assert alice.get(f"{place}/balance").json()["available"] == "90.00"
    assert [row["amount"] for row in alice.get(f"{place}/entries").json()["data"]] == ["10.00", "100.00"]
    assert alice.get(f"{place}/statement").json()["closing"]["balance"] == "90.00"


def test_two_tokens_and_the_key_share_no_cursor(town: Town) -> None:
    next_of_bob = town.user("bob").get("/v2/transactions?limit=1").json()["next_cursor"]
    assert next_of_bob is not None

    for other in (town.user("alice"), town.user("carol"), town.bank):
        answer = other.get(f"/v2/transactions?limit=1&cursor={next_of_bob}")
        assert (answer.status_code, answer.json()["code"]) == (400, "cursor_mismatch")
    assert len(town.user("bob").get(f"/v2/transactions?limit=1&cursor={next_of_bob}").json()["data"]) == 1


def test_why_it_failed_is_told_to_who_should_have_paid_alone(town: Town) -> None:
    sent = {"type": "transfer", "debit_account": "users:alice:USD", "credit_account": "users:bob:USD"}
    failed = town.bank.post("/v2/transactions", sent | {"amount": "5000.00", "currency": "USD"}).json()
    place = f"/v2/transactions/{failed['transaction_id']}"

    assert town.user("alice").get(place).json()["error"]["code"] == "insufficient_funds"
    bob = town.user("bob")
    assert (bob.get(place).json()["status"], bob.get(place).json()["error"]) == ("failed", None)
    assert bob.get(f"{place}/status").json()["error"] is None
    (listed,) = [row for row in bob.get("/v2/transactions").json()["data"] if row["status"] == "failed"]
    assert listed["error"] is None


def test_of_a_transaction_with_legs_a_user_sees_the_own_and_what_they_come_to(town: Town) -> None:
    paid = payroll(town)

    for name, amount in (("alice", "2000.00"), ("bob", "3000.00")):
        for shape in (
            town.user(name).get(f"/v2/transactions/{paid['id']}").json(),
            next(one for one in town.user(name).get("/v2/transactions").json()["data"] if one["id"] == paid["id"]),
        ):
            assert (shape["amount"], shape["currency"], shape["reversed"]) == (amount, "USD", "0.00")
            assert [(leg["account"]["path"], leg["amount"]) for leg in shape["legs"]] == [(f"users:{name}:USD", amount)]
            assert "9000.00" not in str(shape)
    assert town.bank.get(f"/v2/transactions/{paid['id']}").json()["amount"] == "9000.00"


def test_of_more_than_two_users_the_others_find_their_entries_alone(town: Town) -> None:
    paid, carol = payroll(town), town.user("carol")

    assert carol.get(f"/v2/transactions/{paid['id']}").status_code == 404
    assert paid["id"] not in {row["id"] for row in carol.get("/v2/transactions").json()["data"]}
    entry = carol.get(f"/v2/accounts/{town.carol.id}/entries").json()["data"][0]
    assert (entry["amount"], entry["transaction_id"]) == ("4000.00", paid["id"])


def test_the_whole_of_such_a_one_is_not_found_out_by_asking_for_amounts(town: Town) -> None:
    payroll(town)
    alice = town.user("alice")

    for query in ("amount=9000.00", "amount__gte=8999.99", "amount__lt=9000.01&amount__gt=8999.99", "amount=2000.00"):
        assert alice.get(f"/v2/transactions?{query}").json()["data"] == [], query
    assert [row["amount"] for row in alice.get("/v2/transactions?amount=10.00").json()["data"]] == ["10.00"]
    assert [row["amount"] for row in town.bank.get("/v2/transactions?amount=9000.00").json()["data"]] == ["9000.00"]


def test_who_pays_by_legs_sees_what_was_paid_and_that_it_was_taken_back(town: Town) -> None:
    town.bank.open("fees:USD", kind="income")
    paid = legs(
        town.bank,
        ("users:alice:USD", "debit", "50.00"),
        ("users:bob:USD", "credit", "45.00"),
        ("fees:USD", "credit", "5.00"),
    )
    assert town.bank.post(f"/v2/transactions/{paid['id']}/reverse", {}).status_code == 201

    alice, bob = (town.user(name).get(f"/v2/transactions/{paid['id']}").json() for name in ("alice", "bob"))

    assert (alice["amount"], alice["reversed"], alice["status"]) == ("50.00", "50.00", "reversed")
    assert (bob["amount"], bob["reversed"]) == ("45.00", "45.00")
    assert "fees:USD" not in str(alice)


def test_who_gets_the_fee_of_others_sees_nothing_of_them(town: Town) -> None:
    town.bank.open("fees:USD", user_id="dora")
    sent = {"type": "transfer", "debit_account": "users:alice:USD", "credit_account": "cash:USD", "amount": "1.00"}
    charged = town.bank.post("/v2/transactions", sent | {"currency": "USD", "fee": "0.50"}).json()
    assert charged["peer_user_id"] == "dora"
    dora = town.user("dora")

    assert dora.get(f"/v2/transactions/{charged['id']}").status_code == 404
    assert dora.get("/v2/transactions").json()["data"] == []
    assert town.user("alice").get(f"/v2/transactions/{charged['id']}").json()["fee"] == "0.50"
    (account,) = dora.get("/v2/accounts").json()["data"]
    entries = dora.get(f"/v2/accounts/{account['id']}/entries").json()["data"]
    assert [entry["amount"] for entry in entries] == ["0.50"]


def test_a_user_s_own_transfer_shows_the_fee_to_who_pays_it_alone(town: Town) -> None:
    town.bank.open("fees:USD", kind="income")
    sent = {"type": "transfer", "debit_account": "users:alice:USD", "credit_account": "users:bob:USD", "amount": "1.00"}
    charged = town.bank.post("/v2/transactions", sent | {"currency": "USD", "fee": "0.50"}).json()

    assert town.user("alice").get(f"/v2/transactions/{charged['id']}").json()["fee"] == "0.50"
    assert town.user("bob").get(f"/v2/transactions/{charged['id']}").json()["fee"] is None


@pytest.mark.parametrize("other", ["Alice", "alice2", "ALICE", "alic", "bob,alice", "*", "%"])
def test_a_user_is_told_apart_by_every_character(town: Town, other: str) -> None:
    user = town.user(other)

    assert user.get("/v2/accounts").json()["data"] == []
    assert user.get("/v2/transactions").json()["data"] == []
    assert user.get(f"/v2/accounts/{town.alice.id}").status_code == 404


def test_a_user_of_the_same_name_at_another_client_sees_nothing(town: Town, other_bank: Tenant) -> None:
    stranger = other_bank.as_user("alice")

    assert stranger.get("/v2/accounts").json()["data"] == []
    assert stranger.get(f"/v2/accounts/{town.alice.id}").status_code == 404
    assert stranger.get(f"/v2/transactions/{town.alice_to_bob.id}").status_code == 404


def test_a_user_moves_nothing(town: Town) -> None:
    sent = {"type": "transfer", "debit_account": "users:alice:USD", "credit_account": "users:bob:USD"}
    alice = town.user("alice")

    answer = alice.post("/v2/transactions", sent | {"amount": "1.00", "currency": "USD"})

    assert told(answer)[1]["code"] == "not_for_users"
    assert town.bank.posted(town.alice) == 9000
