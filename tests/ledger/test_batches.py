"""Batches that are answered at once: one commit, one result an item, groups and atomic ones whole or not at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest

from ledger.clients.models import IdempotencyKey
from ledger.domain.accounts import Frozen
from ledger.events.models import OutboxEvent
from ledger.models import Batch, BatchItem, Entry, Transaction
from ledger.posting import engine
from ledger.queries.invariants import verify
from ledger.services.account_changes import freeze_account
from ledger.services.batches.turns import post_due_batch
from tests.ledger.audit import offences
from tests.ledger.locks import in_thread, locked
from tests.ledger.test_refused_rounds import database_refuses
from tests.people import URL as SINGLE
from tests.people import Tenant
from tests.people import body as item

URL = "/v2/transactions/batch"


@pytest.fixture
def people(bank: Tenant) -> Tenant:
    """A bank where alice holds 10.00, and bob and carol nothing."""
    bank.person("alice", holding="10.00")
    bank.person("bob")
    bank.person("carol")
    return bank


def send(bank: Tenant, *items: Any, mode: str = "partial", key: str | None = None, query: str = "") -> Any:
    return bank.post(f"{URL}{query}", {"mode": mode, "items": list(items)}, key=key, Prefer="wait=5")


def has(bank: Tenant, *names: str) -> list[int]:
    return [bank.posted(bank.account(f"users:{name}:USD")) for name in names]


def codes(answer: Any) -> list[str | None]:
    return [one["error"] and one["error"]["code"] for one in answer.json()["items"]]


def stored(bank: Tenant) -> list[int]:
    """How many transactions, batches and kept keys the client has."""
    rows: tuple[Any, ...] = (Transaction.objects, Batch.objects, IdempotencyKey.objects)
    return [manager.filter(client=bank.client).count() for manager in rows]


def test_every_item_has_its_result_in_order(people: Tenant) -> None:
    answer = send(people, item("1.00", reference="first"), item("100.00"), item("2.00", credit="nobody"), item("3.00"))

    batch = answer.json()
    assert (answer.status_code, batch["status"], batch["mode"]) == (207, "completed", "partial")
    assert batch["counts"] == {"total": 4, "waiting": 0, "processing": 0, "completed": 2, "failed": 2}
    assert [one["index"] for one in batch["items"]] == [0, 1, 2, 3]
    assert [one["status"] for one in batch["items"]] == [201, 409, 422, 201]
    assert codes(answer) == [None, "insufficient_funds", "account_unknown", None]
    booked, failed, refused, _ = batch["items"]
    assert (booked["transaction"]["status"], booked["transaction"]["reference"]) == ("completed", "first")
    assert (failed["transaction"]["status"], failed["error"]["retryable"]) == ("failed", False)
    assert refused["transaction"] is None
    assert refused["error"]["errors"][0]["pointer"] == "/items/2/credit_account"
    assert {one["transaction"]["batch_id"] for one in (booked, failed)} == {batch["id"]}
    assert answer["Location"] == f"/v2/batches/{batch['id']}"
    assert has(people, "alice", "bob") == [600, 400]
    assert offences(people.client.pk) == []


def test_a_batch_is_one_commit(people: Tenant) -> None:
    batch_id = send(people, *[item("0.01") for _ in range(20)]).json()["id"]
    rows = Transaction.objects.filter(batch_id=batch_id).order_by("id")
    assert [row.batch_index for row in rows] == list(range(20))
    assert len({row.completed_at for row in rows}) == 1
    assert BatchItem.objects.filter(batch_id=batch_id, transaction__isnull=False, body__isnull=True).count() == 20


def test_what_is_read_later_is_what_was_answered(people: Tenant) -> None:
    items = [item("1.00"), item("100.00"), item("2.00", credit="nobody"), {"type": 7}, item(group="a")]
    answer = send(people, *items).json()
    shown = people.get(f"/v2/batches/{answer['id']}").json()
    assert shown == {name: value for name, value in answer.items() if name != "items"}
    assert people.get("/v2/batches").json()["data"][0]["id"] == answer["id"]
    first = people.get(f"/v2/batches/{answer['id']}/items?limit=2").json()
    second = people.get(f"/v2/batches/{answer['id']}/items?cursor={first['next_cursor']}").json()
    assert first["data"] + second["data"] == answer["items"]
    assert second["next_cursor"] is None


def test_a_repeated_batch_is_answered_and_not_repeated(people: Tenant) -> None:
    first, second = (send(people, item(), item("100.00"), {"type": 7}, key="once") for _ in range(2))
    assert (first.status_code, second.status_code) == (207, 207)
    assert first.json() == second.json()
    assert (first.get("Idempotent-Replayed"), second["Idempotent-Replayed"]) == (None, "true")
    assert has(people, "bob") == [100]


def test_a_batch_key_with_another_body_or_operation_is_refused(people: Tenant) -> None:
    send(people, item(), key="once")
    people.post(SINGLE, item(), key="single")
    for again in (send(people, item("2.00"), key="once"), send(people, item(), mode="atomic", key="once")):
        assert (again.status_code, again.json()["code"]) == (422, "idempotency_key_reused")
    other = (people.post(SINGLE, item(), key="once"), send(people, item(), key="single"))
    assert [answer.json()["code"] for answer in other] == ["idempotency_key_reused"] * 2
    taken = send(people, item(idempotency_key="once"))
    assert (taken.json()["items"][0]["status"], codes(taken)) == (422, ["idempotency_key_reused"])
    assert has(people, "bob") == [200]


def test_a_batch_needs_a_key(people: Tenant) -> None:
    data = json.dumps({"items": [item()]})
    answer = people.http().post(URL, data=data, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")


def test_an_item_key_leads_to_one_transaction_by_whatever_door(people: Tenant) -> None:
    alone = people.post(SINGLE, item(), key="one").json()
    answer = send(people, item(idempotency_key="one"), item("2.00", idempotency_key="two"))
    first, second = answer.json()["items"]
    assert (first["replayed"], first["transaction"]["id"], first["status"]) == (True, alone["id"], 201)
    assert second["replayed"] is False
    again = people.post(SINGLE, item("2.00"), key="two")
    assert (again["Idempotent-Replayed"], again.json()["id"]) == ("true", second["transaction"]["id"])
    assert codes(send(people, item("3.00", idempotency_key="one"))) == ["idempotency_key_reused"]
    assert has(people, "bob") == [300]


def test_a_group_is_booked_whole_or_not_at_all(people: Tenant) -> None:
    answer = send(
        people,
        item("4.00", group="pair", idempotency_key="k"),
        item("5.00", group="other"),
        item("7.00", group="pair"),
        item("5.00"),
        item("1.00", group="other", credit="carol"),
    )
    assert codes(answer) == ["group_refused", None, "insufficient_funds", "insufficient_funds", None]
    assert [one["transaction"] is None for one in answer.json()["items"]] == [True, False, True, False, False]
    assert has(people, "alice", "bob", "carol") == [400, 500, 100]
    assert not Transaction.objects.filter(client=people.client, idempotency_key="k").exists()
    assert people.post(SINGLE, item("4.00"), key="k").status_code == 201
    assert offences(people.client.pk) == []


@pytest.mark.parametrize("bad", [{"amount": 5}, {"credit_account": "nobody"}, {"execute_at": "2027-01-01T00:00:00Z"}])
def test_an_item_that_cannot_be_posted_refuses_its_group_alone(people: Tenant, bad: dict[str, Any]) -> None:
    answer = send(people, item(group="a"), item("2.00"), item(group="a") | bad, item(group="b"))
    found = codes(answer)
    assert (found[:2], found[3]) == (["group_refused", None], None)
    assert found[2] in {"field_type", "account_unknown", "execute_at_in_batch"}
    assert has(people, "bob") == [300]


@pytest.mark.parametrize("running", [False, True])
def test_a_group_is_not_booked_beside_a_replay_of_what_is_not(people: Tenant, running: bool) -> None:
    amount = "1.50" if running else "50.00"
    people.post(SINGLE, item(amount), key="earlier", Prefer="" if running else "wait=5")
    replay = item(amount, idempotency_key="earlier")
    code = "idempotency_key_in_use" if running else "insufficient_funds"

    answer = send(people, item("2.00", group="a"), replay | {"group": "a"}, item("3.00"), item() | {"type": 7})
    assert codes(answer) == ["group_refused", code, None, "field_type"]
    atomic = send(people, item("2.00"), replay, mode="atomic")
    assert (atomic.status_code, atomic.json()["items"][0]["code"]) == (422, code)
    assert has(people, "bob") == [300]
    assert codes(send(people, replay)) == [None if running else code]


def test_a_group_may_replay_what_was_booked(people: Tenant) -> None:
    people.post(SINGLE, item(), key="earlier")
    answer = send(people, item("2.00"), item(idempotency_key="earlier"), mode="atomic")
    assert [one["replayed"] for one in answer.json()["items"]] == [False, True]
    assert has(people, "bob") == [300]


def test_an_atomic_batch_is_booked_whole(people: Tenant) -> None:
    answer = send(people, item("4.00"), item("4.00", "bob", "carol"), item("2.00", "carol", "alice"), mode="atomic")
    assert (answer.status_code, answer.json()["status"], codes(answer)) == (207, "completed", [None] * 3)
    assert has(people, "alice", "bob", "carol") == [800, 0, 200]


def test_an_atomic_batch_that_fails_applies_nothing_and_replays_so(people: Tenant) -> None:
    items = [
        item("4.00", idempotency_key="k"),
        item("7.00"),
        item("1.00", credit="nobody"),
        item("5.00", "bob", "carol"),
    ]
    before = stored(people)
    first = send(people, *items, mode="atomic", key="once")
    people.move("cash:USD", "users:alice:USD", "100.00", type="cash_in")
    second = send(people, *items, mode="atomic", key="once")

    for answer in (first, second):
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (422, "batch_refused")
        found = [(one["index"], one["code"]) for one in problem["items"]]
        assert found == [(1, "insufficient_funds"), (2, "account_unknown"), (3, "insufficient_funds")]
        assert [one["pointer"] for one in problem["errors"]] == ["/items/1", "/items/2/credit_account", "/items/3"]
    assert first.json()["batch_id"] == second.json()["batch_id"]
    assert (first.get("Idempotent-Replayed"), second["Idempotent-Replayed"]) == (None, "true")
    assert stored(people) == [before[0] + 1, 1, 1]
    batch = people.get(f"/v2/batches/{first.json()['batch_id']}").json()
    assert (batch["status"], batch["counts"]["failed"]) == ("failed", 4)
    shown = people.get(f"/v2/batches/{batch['id']}/items").json()["data"]
    assert shown[0]["error"]["code"] == "group_refused"
    assert has(people, "alice", "bob") == [11000, 0]
    assert people.post(SINGLE, items[0], key="other").status_code == 422  # item fields are none of a transaction's
    assert people.post(SINGLE, item("4.00"), key="k").get("Idempotent-Replayed") is None
    assert offences(people.client.pk) == []


def test_an_atomic_batch_that_the_books_refuse_is_one_commit_too(people: Tenant) -> None:
    answer = send(people, item("4.00"), item("7.00"), mode="atomic")
    assert [one["index"] for one in answer.json()["items"]] == [1]
    assert Entry.objects.filter(account__client=people.client).count() == 2
    told = OutboxEvent.objects.filter(client_id=people.client.pk, type__startswith="transaction.").count()
    assert told == 1


def test_an_atomic_batch_judges_its_items_one_after_the_other(people: Tenant) -> None:
    freeze_account(
        client_id=people.client.pk,
        account_id=people.account("users:carol:USD").id,
        sides=Frozen.CREDITS,
        actor="staff:root",
        reason="test",
    )
    answer = send(people, item("10.00"), item("10.00", "bob", "carol"), item("5.00", "bob", "alice"), mode="atomic")
    assert [(one["index"], one["code"]) for one in answer.json()["items"]] == [(1, "account_frozen")]
    assert has(people, "alice", "bob") == [1000, 0]


KEY = {"idempotency_key": "same"}
REFUSED: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "no items": ({"items": []}, 422, "batch_empty", "/items"),
    "too many items": ({"items": [item()] * 10_001}, 422, "batch_too_large", "/items"),
    "an atomic batch too large": ({"mode": "atomic", "items": [item()] * 1_001}, 422, "batch_too_large", "/items"),
    "a group too large": ({"items": [item(group="a")] * 1_001}, 422, "group_too_large", "/items/1000/group"),
    "a key twice": (
        {"items": [item(**KEY), item(), item(**KEY)]},
        422,
        "item_key_repeated",
        "/items/2/idempotency_key",
    ),
    "the batch's own key": (
        {"items": [item(idempotency_key="batch")]},
        422,
        "item_key_repeated",
        "/items/0/idempotency_key",
    ),
    "a key twice, one of an item that is malformed": (
        {"items": [item(**KEY), item(), item(amount=5, **KEY)]},
        422,
        "item_key_repeated",
        "/items/2/idempotency_key",
    ),
    "a key twice, both of malformed items": (
        {"items": [item(x=1, **KEY), item(metadata={"n": 2**53}, **KEY)]},
        422,
        "item_key_repeated",
        "/items/1/idempotency_key",
    ),
    "the batch's own key in an item that is malformed": (
        {"items": [item(amount=5, idempotency_key="batch"), item()]},
        422,
        "item_key_repeated",
        "/items/0/idempotency_key",
    ),
    "an unknown mode": ({"mode": "maybe", "items": [item()]}, 422, "field_choice", "/mode"),
    "a group in an atomic batch": (
        {"mode": "atomic", "items": [item(), item(group="a")]},
        422,
        "group_in_atomic_batch",
        "/items/1/group",
    ),
    "a malformed item in an atomic batch": (
        {"mode": "atomic", "items": [item(), item(amount=5)]},
        422,
        "field_type",
        "/items/1/amount",
    ),
    "a rounded number in an atomic batch": (
        {"mode": "atomic", "items": [item(metadata={"n": 2**53})]},
        422,
        "field_range",
        "/items/0/metadata/n",
    ),
    "an item that is no object, atomic": ({"mode": "atomic", "items": [7]}, 422, "field_type", "/items/0"),
    "no list": ({"items": {}}, 422, "field_type", "/items"),
    "nothing": ({}, 422, "field_missing", "/items"),
    "an unknown field": ({"items": [item()], "x": 1}, 422, "field_unknown", "/x"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_breaks_a_rule_of_batches_is_refused_whole(people: Tenant, what: str) -> None:
    body, status, code, pointer = REFUSED[what]
    before = stored(people)
    answer = people.post(URL, body, key="batch")
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["errors"][0]["pointer"]) == (status, code, pointer)
    assert stored(people) == before
    assert has(people, "bob") == [0]
    assert send(people, item(), key="batch").status_code == 207


MALFORMED: dict[str, tuple[Any, str, str]] = {
    "no object": (7, "field_type", ""),
    "null": (None, "field_type", ""),
    "a number for the amount": (item(amount=5), "field_type", "/amount"),
    "an unknown field": (item(x=1), "field_unknown", "/x"),
    "a field missing": ({"type": "transfer"}, "field_missing", "/debit_account"),
    "an empty key": (item(idempotency_key=""), "field_pattern", "/idempotency_key"),
    "a key with a space": (item(idempotency_key="a b"), "field_pattern", "/idempotency_key"),
    "a key too long": (item(idempotency_key="k" * 256), "field_pattern", "/idempotency_key"),
    "a group too long": (item(group="g" * 65), "field_pattern", "/group"),
    "a group that is a number": (item(group=1), "field_type", "/group"),
    "a whole number that others round": (item(metadata={"n": 2**53}), "field_range", "/metadata/n"),
    "no money": (item("0.00"), "amount_not_positive", "/amount"),
    "half a cent": (item("0.005"), "amount_too_many_decimals", "/amount"),
    "a comma": (item("1,00"), "amount_malformed", "/amount"),
    "an unknown type": (item(type="gift"), "type_unknown", "/type"),
    "an unknown currency": (item(currency="XXX"), "currency_unknown", "/currency"),
    "another currency": (item(currency="EUR"), "currency_mismatch", "/currency"),
    "one account": (item(credit="alice"), "same_account", "/credit_account"),
    "a later time": (item(execute_at="2027-01-01T00:00:00Z"), "execute_at_in_batch", "/execute_at"),
    "a time that has passed": (item(execute_at="2020-01-01T00:00:00Z"), "execute_at_in_batch", "/execute_at"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_one_item_that_is_wrong_is_refused_alone(people: Tenant, what: str) -> None:
    wrong, code, place = MALFORMED[what]
    answer = send(people, item("2.00"), wrong, item("3.00"))
    assert answer.status_code == 207
    assert [one["status"] for one in answer.json()["items"]] == [201, 422, 201]
    refused = answer.json()["items"][1]
    assert (refused["transaction"], refused["error"]["code"]) == (None, code)
    assert refused["error"]["errors"][0]["pointer"] == f"/items/1{place}"
    assert has(people, "bob") == [500]


def test_what_is_no_key_cannot_be_a_key_twice(people: Tenant) -> None:
    answer = send(people, item("2.00"), *[item(idempotency_key="a b")] * 2, *[item(idempotency_key=7)] * 2)
    assert codes(answer) == [None, "field_pattern", "field_pattern", "field_type", "field_type"]
    assert has(people, "bob") == [200]


def test_a_batch_of_which_nothing_can_be_posted_is_kept_too(people: Tenant) -> None:
    first, second = (send(people, item(credit="nobody"), 7, key="once") for _ in range(2))
    assert (first.status_code, first.json()["status"]) == (207, "completed")
    assert second.json() == first.json()
    assert second["Idempotent-Replayed"] == "true"


def test_a_dry_run_tells_all_and_leaves_nothing(people: Tenant) -> None:
    before = stored(people)
    tried = send(
        people, item("4.00"), item("7.00"), item("1.00", idempotency_key="k"), query="?dry_run=true", key="dry"
    )
    assert (tried.status_code, tried["Dry-Run"]) == (207, "true")
    assert codes(tried) == [None, "insufficient_funds", None]
    refused = send(people, item("4.00"), item("7.00"), mode="atomic", query="?dry_run=true")
    assert (refused.status_code, refused.json()["code"]) == (422, "batch_refused")
    nothing = send(people, item(credit="nobody"), query="?dry_run=true")
    assert codes(nothing) == ["account_unknown"]
    large = send(people, *[item("0.01")] * 1_001, query="?dry_run=true")
    assert (large.status_code, large.json()["code"]) == (422, "batch_too_large")
    assert stored(people) == before
    assert has(people, "alice") == [1000]
    assert send(people, item(), key="dry").get("Idempotent-Replayed") is None


def test_a_thousand_items_are_one_round_and_more_than_a_mebibyte_is_taken(people: Tenant) -> None:
    note = "n" * 500
    items = [item("0.01", description=note, metadata={"a": note, "b": note}) for _ in range(1_000)]
    answer = send(people, *items)
    assert (answer.status_code, answer.json()["counts"]["completed"]) == (207, 1_000)
    assert (
        len(
            {
                row.posted_at
                for row in Entry.objects.filter(account__path="users:bob:USD", account__client=people.client)
            }
        )
        == 1
    )
    assert has(people, "bob") == [1000]


def test_another_clients_batch_does_not_exist(people: Tenant, other_bank: Tenant) -> None:
    batch_id = send(people, item()).json()["id"]
    for url in (f"/v2/batches/{batch_id}", f"/v2/batches/{batch_id}/items"):
        assert other_bank.get(url).status_code == 404
        assert people.get(url).status_code == 200
        assert people.get(url.replace(batch_id, str(uuid4()))).status_code == 404
    assert other_bank.get("/v2/batches").json()["data"] == []
    foreign = send(other_bank, item(debit="alice"))
    assert codes(foreign) == ["account_unknown"]


def together(works: list[Callable[[], Any]]) -> list[Any]:
    begin = Barrier(len(works))

    def one(work: Callable[[], Any]) -> Any:
        begin.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        asked = [pool.submit(in_thread, partial(one, work)) for work in works]
        return [each.result() for each in asked]


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
@pytest.mark.parametrize("mode", ["partial", "atomic"])
def test_ten_equal_batches_at_once_are_one(people: Tenant, mode: str, settings: Any, isolation: str) -> None:
    settings.LEDGER_ISOLATION = isolation
    work = lambda: send(people, item("1.00", idempotency_key="a"), item("2.00"), mode=mode, key="once")  # noqa: E731
    answers = together([work] * 10)
    assert {answer.status_code for answer in answers} == {207}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Counter("Idempotent-Replayed" in answer for answer in answers) == {True: 9, False: 1}
    assert has(people, "alice", "bob") == [700, 300]
    assert stored(people)[1:] == [1, 1]


def test_ten_equal_batches_at_once_that_fail_fail_once(people: Tenant) -> None:
    answers = together([lambda: send(people, item("1.00"), item("20.00"), mode="atomic", key="once")] * 10)
    assert {answer.json()["code"] for answer in answers} == {"batch_refused"}
    assert len({answer.json()["batch_id"] for answer in answers}) == 1
    assert stored(people)[1:] == [1, 1]
    assert has(people, "alice") == [1000]


def test_batches_that_share_item_keys_book_each_once(people: Tenant) -> None:
    """In opposite orders and on other accounts, so that nothing but the keys keeps them apart."""
    pairs = [(people.person(f"payer-{n}", holding="50.00").user_id, people.person(f"payee-{n}").user_id) for n in "ab"]

    def work(pair: Any, number: int, step: int) -> Any:
        items = [item("0.10", *pair, idempotency_key=f"{number}-{place}") for place in range(20)][::step]
        return send(people, *items)

    for number in range(10):
        steps = zip(pairs, (1, -1), strict=True)
        answers = together([partial(work, pair, number, step) for pair, step in steps])
        assert {answer.status_code for answer in answers} <= {207, 202}
    while post_due_batch():  # of a batch that met the other for too long the rest is posted later
        pass
    keyed = Transaction.objects.filter(client=people.client, idempotency_key__regex=r"^\d+-\d+$")
    assert keyed.count() == 200
    assert offences(people.client.pk) == []


def test_a_batch_and_single_transactions_share_keys_without_harm(people: Tenant) -> None:
    works: list[Callable[[], Any]] = [
        lambda: send(people, *[item("0.10", idempotency_key=f"k{place}") for place in range(10)]),
        *(partial(people.post, SINGLE, item("0.10"), key=f"k{place}") for place in range(7)),
    ]
    answers = together(works)
    assert {answer.status_code for answer in answers} <= {201, 207}
    assert has(people, "bob") == [100]
    assert offences(people.client.pk) == []


def test_of_a_batch_and_a_transaction_with_one_key_one_is_done(people: Tenant) -> None:
    """They lock different rows and write the key into different tables."""
    for name in ("dora", "emil"):
        people.person(name, holding="50.00")
    for number in range(15):
        works: list[Callable[[], Any]] = [
            partial(send, people, item("0.10", credit="bob"), key=f"key-{number}"),
            partial(people.post, SINGLE, item("0.10", "dora", "emil"), key=f"key-{number}"),
        ]
        assert sorted(answer.status_code for answer in together(works)) in ([201, 422], [207, 422])
    kept = IdempotencyKey.objects.filter(client=people.client).values_list("key", flat=True)
    taken = Transaction.objects.filter(client=people.client, idempotency_key__startswith="key-")
    once = Counter([*kept, *taken.values_list("idempotency_key", flat=True)])
    assert once == {f"key-{number}": 1 for number in range(15)}


def test_while_a_batch_waits_for_an_account_its_key_stays_free_for_the_same_request(
    people: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SET_LOCK_TIMEOUT", "SELECT set_config('lock_timeout', '50ms', true)")
    with locked(people.account("users:alice:USD")):
        busy = send(people, item("1.00"), mode="atomic", key="once")
    assert (busy.status_code, busy.json()["code"]) == (503, "posting_contended")
    assert send(people, item("1.00"), mode="atomic", key="once").status_code == 207
    assert has(people, "bob") == [100]


def test_an_atomic_batch_that_the_database_refuses_is_refused(people: Tenant) -> None:
    with database_refuses(people.account("users:bob:USD"), 313):
        answers = [send(people, item("1.00"), item("3.13"), mode="atomic", key="once") for _ in range(2)]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (422, "batch_refused")
        assert {one["code"] for one in answer.json()["items"]} == {"posting_refused"}
    assert has(people, "alice") == [1000]
    assert verify(client_id=people.client.pk).holds
