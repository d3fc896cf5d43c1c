"""`GET /v2/transactions/{id}/proof`: what is sealed is proved from its fields alone, what is not yet is told so."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from ledger.models import Account, Journal
from tests.counted import statements
from tests.ledger.sealed import sealed
from tests.ledger.test_bad_input import problem
from tests.people import URL, Tenant, body


@pytest.fixture(autouse=True)
def rest(db) -> None:
    """All that earlier tests booked is sealed."""
    sealed()


def proof_of(bank: Tenant, transaction_id: Any, query: str = "") -> Any:
    answer = bank.get(f"{URL}/{transaction_id}/proof{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def packed(values: list[str]) -> bytes:
    return "".join(f"{len(value.encode())}:{value}" for value in values).encode()


def root_of(proof: dict[str, Any]) -> str:
    """Return the root to which a proof's fields lead, whatever else it says."""
    node = sha256(b"\x00\x01" + packed([field["value"] for field in proof["fields"]])).digest()
    for step in proof["audit_path"]:
        beside = bytes.fromhex(step["hash"])
        node = sha256(b"\x01" + (beside + node if step["side"] == "left" else node + beside)).digest()
    return node.hex()


def hash_of(block: dict[str, Any]) -> str:
    return sha256(b"\x02\x01" + packed([field["value"] for field in block["fields"]])).hexdigest()


def merkle_root(proof: dict[str, Any]) -> str:
    (root,) = (field["value"] for field in proof["block"]["fields"] if field["name"] == "merkle_root")
    return str(root)


def values_of(proof: dict[str, Any], name: str) -> list[str]:
    return [field["value"] for field in proof["fields"] if field["name"] == name]


def test_every_journal_of_a_block_is_proved_from_its_fields(people: Tenant) -> None:
    sealed()
    done = [people.move("users:alice:USD", "users:bob:USD", "0.01").transaction.id for _ in range(5)]
    (one,) = sealed()

    answers = [proof_of(people, transaction_id) for transaction_id in done]

    for index, answer in enumerate(answers):
        (proof,) = answer["data"]
        assert (proof["sealed"], proof["index"]) == (True, index)
        assert root_of(proof) == merkle_root(proof) == one.block.merkle_root.hex()
        assert proof["block"]["number"] == one.block.number
        assert hash_of(proof["block"]) == proof["block"]["hash"] == one.hash.hex()
        assert answer["head"] == {"number": one.block.number, "hash": one.hash.hex()}
    assert {len(answer["data"][0]["audit_path"]) for answer in answers} == {1, 3}


def test_the_fields_are_those_of_the_journal_its_lines_and_what_was_asked(people: Tenant) -> None:
    asked = body("1.25", reference="ä", metadata={"order": 7}, effective_at="2026-11-20T12:00:00.000001Z")
    done = people.post(URL, asked).json()
    sealed()

    (proof,) = proof_of(people, done["id"])["data"]

    journal = Journal.objects.get(transaction_id=done["id"])
    alice, bob = (Account.objects.get(client=people.client, path=f"users:{name}:USD") for name in ("alice", "bob"))
    head = {field["name"]: field["value"] for field in proof["fields"][:9]}
    assert (proof["journal_id"], head["journal_id"]) == (str(journal.pk), str(journal.pk))
    assert (head["transaction_id"], head["external_ref"]) == (done["id"], done["receipt_code"])
    assert (head["client_id"], head["kind"], head["entry_count"]) == (str(people.client.pk), "post", "2")
    assert head["effective_at_us"] == "1795176000000001"
    assert head["transaction_sha256"] == sha256(proof["transaction"].encode()).hexdigest()
    told = json.loads(proof["transaction"])
    assert told[0] == done["id"]
    assert {"order": 7} in told
    assert "ä" in told
    assert values_of(proof, "account") == [str(alice.public_id), str(bob.public_id)]
    assert values_of(proof, "amount_minor") == ["125", "-125"]
    assert values_of(proof, "posted_after") == ["-875", "-125"]
    assert [field["name"] for field in proof["fields"][9:]] == 2 * [field["name"] for field in proof["fields"][9:20]]


def test_what_is_not_sealed_yet_is_told_so(people: Tenant) -> None:
    done = people.move("users:alice:USD", "users:bob:USD", "0.01").transaction

    (proof,) = proof_of(people, done.id)["data"]

    assert proof["sealed"] is False
    assert (proof["index"], proof["audit_path"], proof["block"]) == (None, None, None)
    sealed()
    (later,) = proof_of(people, done.id)["data"]
    assert (later["sealed"], later["leaf_hash"], later["fields"]) == (True, proof["leaf_hash"], proof["fields"])


def test_what_was_not_booked_has_no_journals(people: Tenant) -> None:
    failed = people.move("users:bob:USD", "users:alice:USD", "99.00").transaction
    answer = proof_of(people, failed.id)
    assert (answer["data"], answer["next_cursor"], answer["prev_cursor"]) == ([], None, None)


def test_many_captures_are_proved_page_by_page(people: Tenant) -> None:
    hold = people.post(URL, body("5.00", capture="manual")).json()["id"]
    for _ in range(11):
        assert people.post(f"{URL}/{hold}/capture", {"amount": "0.10"}).status_code == 200
    sealed(3)

    first = proof_of(people, hold)
    second = proof_of(people, hold, f"?cursor={first['next_cursor']}")

    assert [len(first["data"]), len(second["data"]), second["next_cursor"]] == [10, 2, None]
    proofs = first["data"] + second["data"]
    assert [value for proof in proofs for value in values_of(proof, "kind")] == ["hold"] + 11 * ["capture"]
    assert all(root_of(proof) == merkle_root(proof) for proof in proofs)
    assert len({proof["journal_id"] for proof in proofs}) == 12


def test_a_proof_of_other_fields_leads_nowhere(people: Tenant) -> None:
    done = people.move("users:alice:USD", "users:bob:USD", "0.01").transaction
    sealed()
    (proof,) = proof_of(people, done.id)["data"]

    for number, field in enumerate(proof["fields"]):
        fields = [*proof["fields"][:number], field | {"value": field["value"] + "0"}, *proof["fields"][number + 1 :]]
        assert root_of(proof | {"fields": fields}) != merkle_root(proof)


@pytest.mark.parametrize("query", ["limit=5", "cursor=x", "since=1"])
def test_odd_parameters_are_refused(people: Tenant, query: str) -> None:
    done = people.move("users:alice:USD", "users:bob:USD", "0.01").transaction
    assert problem(people.get(f"{URL}/{done.id}/proof?{query}"))[0] == 400


def test_a_key_that_may_not_read_transactions_gets_no_proof() -> None:
    bank = Tenant.new(scopes=["accounts:read"])
    bank.person("alice")
    done = bank.move("cash:USD", "users:alice:USD", "1.00", type="cash_in").transaction
    assert problem(bank.get(f"{URL}/{done.id}/proof"))[0] == 403


@pytest.mark.usefixtures("remembered_keys")
def test_a_proof_asks_the_database_the_same_few_things_however_much_is_booked(people: Tenant) -> None:
    hold = people.post(URL, body("5.00", capture="manual")).json()["id"]
    sealed()
    proof_of(people, hold)
    before = statements(lambda: proof_of(people, hold))
    for _ in range(9):
        assert people.post(f"{URL}/{hold}/capture", {"amount": "0.10"}).status_code == 200
    sealed()
    assert statements(lambda: proof_of(people, hold)) == before
