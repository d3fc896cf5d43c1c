"""What belongs to another client does not exist: not in a body, not by a filter, not by its shape.

That no route and no list shows it stands in owasp/test_api1_object_level.py.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from config.runtime.ids import uuid7
from ledger.domain.receipts import receipt_code
from ledger.models import Transaction
from tests.ledger.owasp.world import told
from tests.people import URL, Tenant, body


@pytest.fixture
def theirs(other_bank: Tenant) -> dict[str, Any]:
    """mallory's names of everything that she has."""
    mallory = other_bank.person("mallory", holding="50.00")
    moved = other_bank.move("cash:USD", mallory.path, "1.00").transaction
    return {"account": mallory.id, "path": mallory.path, "transaction": moved.id, "receipt": moved.receipt_code}


MISSING_ID = uuid7()
MISSING = {
    "account": MISSING_ID,
    "path": "users:nobody:USD",
    "transaction": MISSING_ID,
    "receipt": receipt_code(MISSING_ID),
}


@pytest.mark.parametrize("at", ["at", "effective_at"])
def test_the_balance_of_another_client_s_account_is_at_no_time_told(
    bank: Tenant, other_bank: Tenant, theirs: dict[str, Any], at: str
) -> None:
    url = f"/v2/accounts/{{account}}/balance?{at}=2026-01-01T00:00:00Z"
    assert other_bank.get(url.format(**theirs)).status_code == 200
    foreign, missing = bank.get(url.format(**theirs)), bank.get(url.format(**MISSING))
    assert foreign.status_code == 404
    assert told(foreign) == told(missing)


@pytest.mark.parametrize("name", ["account", "path"])
@pytest.mark.parametrize("side", ["debit_account", "credit_account"])
def test_another_clients_account_in_a_body_is_told_like_a_missing_one(
    bank: Tenant, other_bank: Tenant, theirs: dict[str, Any], name: str, side: str
) -> None:
    bank.person("alice", holding="10.00")

    def answer(names: dict[str, Any]) -> tuple[int, str, dict[str, str]]:
        sent = body(credit_account="cash:USD") | {side: str(names[name])}
        status, document, headers = told(bank.post(URL, sent))
        return status, str(document).replace(str(names[name]), "…"), headers | {"Content-Length": ""}

    assert answer(theirs) == answer(MISSING)
    assert answer(theirs)[0] == 422
    assert other_bank.get(f"/v2/accounts/{theirs['account']}").json()["balance"]["posted"] == "51.00"


def test_no_list_shows_another_clients_rows(bank: Tenant, theirs: dict[str, Any]) -> None:
    alice = bank.person("alice", holding="5.00")
    mine = {str(one.pk) for one in Transaction.objects.filter(client=bank.client)}
    assert {row["id"] for row in bank.get("/v2/transactions?limit=200").json()["data"]} == mine
    assert {row["path"] for row in bank.get("/v2/accounts?limit=200").json()["data"]} == {alice.path, "cash:USD"}


@pytest.mark.parametrize(
    "query",
    [
        "accounts?path={path}",
        "accounts?path_prefix=users:mallory",
        "accounts?user_id=mallory",
        "transactions?account={account}",
        "transactions?account={path}",
        "transactions?user_id=mallory",
        "transactions?account={path}&user_id=mallory",
    ],
)
def test_no_filter_finds_another_clients_rows(
    bank: Tenant, other_bank: Tenant, theirs: dict[str, Any], query: str
) -> None:
    assert other_bank.get(f"/v2/{query.format(**theirs)}").json()["data"] != []
    assert bank.get(f"/v2/{query.format(**theirs)}").json() == {"data": [], "next_cursor": None, "prev_cursor": None}


def test_two_clients_use_one_path_and_one_key_without_meeting(bank: Tenant, other_bank: Tenant) -> None:
    key, answers = str(uuid4()), []
    for tenant, amount in ((bank, "1.00"), (other_bank, "2.00")):
        tenant.person("alice", holding="10.00")
        answers.append(tenant.post(URL, body(amount, credit_account="cash:USD"), key=key))
    assert [answer.status_code for answer in answers] == [201, 201]
    assert [answer.json()["amount"] for answer in answers] == ["1.00", "2.00"]
    assert answers[0].json()["debit_account"]["id"] != answers[1].json()["debit_account"]["id"]
