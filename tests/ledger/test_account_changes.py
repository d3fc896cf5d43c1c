"""Accounts are frozen, closed and limited: each change once, with a reason, a history and one event; or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.clients.models import AuditEntry
from ledger.clients.services import create_key
from ledger.domain.accounts import Frozen
from ledger.events.models import OutboxEvent
from ledger.models import Account, Transaction
from tests.ledger.audit import offences
from tests.people import Tenant

WHY = {"reason": "court order 17/2026"}


def change(bank: Tenant, account: Any, action: str, *, key: str | None = None, **body: Any) -> Any:
    return bank.post(f"/v2/accounts/{account.id}/{action}", WHY | body, key=key)


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def moved(bank: Tenant, debit: str, credit: str, amount: str) -> str:
    """Move money, and return "completed" or why it failed."""
    shown = bank.move(debit, credit, amount).transaction
    return shown.error.code if shown.error else shown.status


def told(bank: Tenant, account: Any) -> list[str]:
    return list(
        OutboxEvent.objects.filter(client_id=bank.client.pk, key=account.id)
        .order_by("id")
        .values_list("type", flat=True)
    )


def written(bank: Tenant, account: Any) -> Any:
    """Return the account, what was told of it and what stands in its history."""
    row = Account.objects.select_related("balance").get(public_id=account.id)
    state = (row.status, row.frozen, row.balance.floor, row.balance.ceiling, row.balance.posted_minor)
    return state, told(bank, account), bank.get(f"/v2/accounts/{account.id}/history").json()["data"]


@pytest.mark.parametrize(
    ("steps", "frozen"),
    [
        ([("freeze", {})], "both"),
        ([("freeze", {"sides": "debits"})], "debits"),
        ([("freeze", {"sides": "credits"})], "credits"),
        ([("freeze", {"sides": "debits"}), ("freeze", {"sides": "credits"})], "both"),
        ([("freeze", {"sides": "debits"}), ("freeze", {"sides": "both"})], "both"),
        ([("freeze", {}), ("unfreeze", {"sides": "credits"})], "debits"),
        ([("freeze", {}), ("unfreeze", {})], "none"),
        ([("freeze", {"sides": "credits"}), ("unfreeze", {})], "none"),
    ],
)
def test_a_freeze_adds_sides_and_an_unfreeze_takes_them_off(bank: Tenant, steps: list[Any], frozen: str) -> None:
    alice = bank.person("alice")
    answers = [change(bank, alice, action, **body) for action, body in steps]
    assert [answer.status_code for answer in answers] == [200] * len(steps)
    assert answers[-1].json()["frozen"] == frozen
    assert answers[-1].json() == bank.get(f"/v2/accounts/{alice.id}").json()


@pytest.mark.parametrize(
    ("sides", "debit", "credit"),
    [
        ("debits", "account_frozen", "completed"),
        ("credits", "completed", "account_frozen"),
        ("both", "account_frozen", "account_frozen"),
    ],
)
def test_a_frozen_side_refuses_and_the_other_does_not(bank: Tenant, sides: str, debit: str, credit: str) -> None:
    alice = bank.person("alice", holding="10.00")
    change(bank, alice, "freeze", sides=sides)
    assert moved(bank, alice.path, "cash:USD", "2.00") == debit
    assert moved(bank, "cash:USD", alice.path, "1.00") == credit
    assert bank.posted(alice) == 1000 - 200 * (debit == "completed") + 100 * (credit == "completed")


def test_every_change_is_told_once_and_stands_in_the_history_with_its_reason(bank: Tenant) -> None:
    alice = bank.person("alice")
    answers = [
        change(bank, alice, "freeze", sides="debits", reason="a stolen card"),
        change(bank, alice, "unfreeze", reason="a new card"),
        change(bank, alice, "limits", floor="-50.00", ceiling="500", reason="a good customer"),
        change(bank, alice, "close", reason="moved away"),
        change(bank, alice, "reopen", reason="came back"),
    ]
    types = ["account.frozen", "account.unfrozen", "account.limits_changed", "account.closed", "account.reopened"]

    assert told(bank, alice) == ["account.opened", *types]
    events = OutboxEvent.objects.filter(client_id=bank.client.pk, key=alice.id).order_by("id")[1:]
    assert [json.loads(event.data) for event in events] == [answer.json() for answer in answers]
    history = bank.get(f"/v2/accounts/{alice.id}/history").json()
    assert (history["next_cursor"], history["prev_cursor"]) == (None, None)
    shown = history["data"][::-1]
    assert [(row["type"], row["reason"], row["changes"]) for row in shown] == [
        (types[0], "a stolen card", {"frozen": {"before": "none", "after": "debits"}}),
        (types[1], "a new card", {"frozen": {"before": "debits", "after": "none"}}),
        (
            types[2],
            "a good customer",
            {"floor": {"before": "0.00", "after": "-50.00"}, "ceiling": {"before": None, "after": "500.00"}},
        ),
        (types[3], "moved away", {"status": {"before": "active", "after": "closed"}}),
        (types[4], "came back", {"status": {"before": "closed", "after": "active"}}),
    ]
    key_id = bank.key.split("_")[1]
    assert {row["actor"] for row in shown} == {f"key:{key_id}"}
    assert [row["request_id"] for row in shown] == [answer["X-Request-ID"] for answer in answers]


def test_a_history_turns_its_pages(bank: Tenant) -> None:
    alice = bank.person("alice")
    for number in range(3):
        change(bank, alice, "freeze", reason=f"order {number}")
        change(bank, alice, "unfreeze", reason=f"end {number}")
    url = f"/v2/accounts/{alice.id}/history?limit=4"
    first = bank.get(url).json()
    second = bank.get(f"{url}&cursor={first['next_cursor']}").json()
    assert [row["reason"] for row in first["data"]] == ["end 2", "order 2", "end 1", "order 1"]
    assert [row["reason"] for row in second["data"]] == ["end 0", "order 0"]


def test_limits_bind_from_the_next_booking_on(bank: Tenant) -> None:
    alice = bank.person("alice", holding="10.00")
    change(bank, alice, "limits", floor="-5.00", ceiling="11.00")
    assert moved(bank, alice.path, "cash:USD", "15.01") == "insufficient_funds"
    assert moved(bank, "cash:USD", alice.path, "1.01") == "ceiling_exceeded"
    assert moved(bank, alice.path, "cash:USD", "15.00") == "completed"

    change(bank, alice, "limits", floor=None)

    assert moved(bank, alice.path, "cash:USD", "999.00") == "completed"
    assert bank.account(alice.path).ceiling == "11.00"


@pytest.mark.parametrize("kind", ["liability", "asset"])
def test_limits_are_taken_up_to_the_last_cent_of_what_is_there(bank: Tenant, kind: str) -> None:
    """10.00 are booked, 3.00 of them held, 2.00 more may come."""
    box, other = bank.open("box", kind=kind, floor=None), bank.open("cash:2:USD", kind="asset")
    ways = {"liability": (other, box), "asset": (box, other)}[kind]
    bank.move(ways[0].path, ways[1].path, "10.00")
    bank.move(ways[1].path, ways[0].path, "3.00", capture="manual")
    bank.move(ways[0].path, ways[1].path, "2.00", capture="manual")

    too_high = change(bank, box, "limits", floor="7.01", ceiling="12.00")
    too_low = change(bank, box, "limits", floor="7.00", ceiling="11.99")
    just = change(bank, box, "limits", floor="7.00", ceiling="12.00")

    assert (code(too_high), too_high.json()["available"]) == ((409, "floor_above_available"), "7.00")
    assert [error["pointer"] for error in too_high.json()["errors"]] == ["/floor"]
    assert (code(too_low), too_low.json()["balance"]) == ((409, "ceiling_below_balance"), "12.00")
    assert [error["pointer"] for error in too_low.json()["errors"]] == ["/ceiling"]
    assert (just.status_code, just.json()["floor"], just.json()["ceiling"]) == (200, "7.00", "12.00")


@pytest.mark.parametrize(("held_on", "held_for"), [("box", "cash:USD"), ("cash:USD", "box")])
def test_an_account_with_holds_is_not_closed_though_it_stands_at_zero(
    bank: Tenant, held_on: str, held_for: str
) -> None:
    box = bank.open("box", floor=None)
    bank.move(held_on, held_for, "1.00", capture="manual")
    before = written(bank, box)
    assert code(change(bank, box, "close")) == (409, "account_has_holds")
    assert written(bank, box) == before


@pytest.mark.parametrize(("floor", "moves"), [("0.00", ("cash:USD", "box")), ("-5.00", ("box", "cash:USD"))])
def test_an_account_that_does_not_stand_at_zero_is_not_closed(bank: Tenant, floor: str, moves: Any) -> None:
    box = bank.open("box", floor=floor)
    bank.move(moves[0], moves[1], "5.00")
    before = written(bank, box)
    refused = change(bank, box, "close")
    assert (code(refused), refused.json()["posted"]) == ((409, "account_not_empty"), "-" * (floor != "0.00") + "5.00")
    assert written(bank, box) == before

    bank.move(moves[1], moves[0], "5.00")

    assert change(bank, box, "close").json()["status"] == "closed"


def test_a_closed_account_refuses_bookings_until_it_is_reopened_with_what_it_had(bank: Tenant) -> None:
    alice = bank.open("users:alice:USD", ceiling="9.00")
    change(bank, alice, "freeze", sides="debits")
    change(bank, alice, "close")
    for pair in ((alice.path, "cash:USD"), ("cash:USD", alice.path)):
        assert moved(bank, *pair, "1.00") == "account_closed"
    assert [row["path"] for row in bank.get("/v2/accounts?status=closed").json()["data"]] == [alice.path]

    reopened = change(bank, alice, "reopen").json()

    assert (reopened["status"], reopened["frozen"], reopened["ceiling"]) == ("active", "debits", "9.00")
    assert moved(bank, "cash:USD", alice.path, "1.00") == "completed"
    assert moved(bank, alice.path, "cash:USD", "1.00") == "account_frozen"


def test_what_is_accepted_and_then_closed_upon_fails_by_name(bank: Tenant) -> None:
    alice = bank.person("alice")
    body = {"type": "transfer", "debit_account": "cash:USD", "credit_account": alice.path, "amount": "1.00"}
    change(bank, alice, "close")
    refused = bank.post("/v2/transactions", body | {"currency": "USD"}, Prefer="respond-async")
    assert code(refused) == (409, "account_closed")
    assert not Transaction.objects.filter(client=bank.client).exists()


# What came before, what is asked, and why not.
AGAIN = {
    "frozen, once more": ([("freeze", {})], ("freeze", {}), "account_already_frozen"),
    "frozen, a side of it": ([("freeze", {})], ("freeze", {"sides": "credits"}), "account_already_frozen"),
    "not frozen": ([], ("unfreeze", {}), "account_not_frozen"),
    "frozen on the other side": (
        [("freeze", {"sides": "debits"})],
        ("unfreeze", {"sides": "credits"}),
        "account_not_frozen",
    ),
    "closed, once more": ([("close", {})], ("close", {}), "account_already_closed"),
    "open": ([], ("reopen", {}), "account_already_open"),
    "reopened, once more": ([("close", {}), ("reopen", {})], ("reopen", {}), "account_already_open"),
    "the limits that it has": ([], ("limits", {"floor": "0.00", "ceiling": None}), "limits_unchanged"),
    "the floor that it has": ([], ("limits", {"floor": "0"}), "limits_unchanged"),
    "closed, and frozen": ([("close", {})], ("freeze", {}), "account_closed"),
    "closed, and unfrozen": ([("freeze", {}), ("close", {})], ("unfreeze", {}), "account_closed"),
    "closed, and limited": ([("close", {})], ("limits", {"ceiling": "1.00"}), "account_closed"),
    "a floor above nothing": ([], ("limits", {"floor": "0.01"}), "floor_above_available"),
    "a ceiling below nothing": ([], ("limits", {"ceiling": "-0.01"}), "ceiling_below_balance"),
}


@pytest.mark.parametrize(("before", "asked", "refusal"), AGAIN.values(), ids=AGAIN)
def test_what_cannot_change_is_refused_by_name_and_changes_nothing(
    bank: Tenant, before: list[Any], asked: Any, refusal: str
) -> None:
    alice = bank.person("alice")
    for action, body in before:
        assert change(bank, alice, action, **body).status_code == 200
    stood = written(bank, alice)
    action, body = asked

    assert code(change(bank, alice, action, key="unused", **body)) == (409, refusal)

    assert written(bank, alice) == stood
    assert (
        bank.post("/v2/accounts", {"path": "box", "currency": "USD", "kind": "asset"}, key="unused").status_code == 201
    )


ODD = {
    "no reason": ("freeze", {}, 422, "field_missing", "/reason"),
    "an empty reason": ("close", {"reason": ""}, 422, "field_length", "/reason"),
    "a blank reason": ("close", {"reason": " \t\n"}, 422, "field_pattern", "/reason"),
    "a long reason": ("reopen", {"reason": "r" * 501}, 422, "field_length", "/reason"),
    "no side": ("freeze", WHY | {"sides": "none"}, 422, "field_choice", "/sides"),
    "a side of one's own": ("unfreeze", WHY | {"sides": "left"}, 422, "field_choice", "/sides"),
    "a list of sides": ("freeze", WHY | {"sides": ["debits"]}, 422, "field_type", "/sides"),
    "sides of a closing": ("close", WHY | {"sides": "both"}, 422, "field_unknown", "/sides"),
    "no limits": ("limits", WHY, 422, "limits_missing", None),
    "a limit as a number": ("limits", WHY | {"floor": 1}, 422, "field_type", "/floor"),
    "a limit in words": ("limits", WHY | {"floor": "much"}, 422, "amount_malformed", "/floor"),
    "an empty limit": ("limits", WHY | {"ceiling": ""}, 422, "field_length", "/ceiling"),
    "a limit with three decimals": ("limits", WHY | {"ceiling": "1.001"}, 422, "amount_too_many_decimals", "/ceiling"),
    "a limit of 39 digits": ("limits", WHY | {"ceiling": "9" * 37}, 422, "amount_too_large", "/ceiling"),
    "minus nothing": ("limits", WHY | {"floor": "-0.00"}, 422, "amount_not_positive", "/floor"),
    "no body": ("close", "", 422, "field_missing", "/reason"),
}


@pytest.mark.parametrize(("action", "body", "status", "refusal", "pointer"), ODD.values(), ids=ODD)
def test_what_is_malformed_is_refused_by_name_and_changes_nothing(  # noqa: PLR0917
    bank: Tenant, action: str, body: Any, status: int, refusal: str, pointer: str | None
) -> None:
    alice = bank.person("alice")
    before = written(bank, alice)
    answer = bank.post(f"/v2/accounts/{alice.id}/{action}", body)
    assert code(answer) == (status, refusal)
    assert [error["pointer"] for error in answer.json()["errors"]] == ([] if pointer is None else [pointer])
    assert written(bank, alice) == before


@pytest.mark.parametrize("action", ["freeze", "unfreeze", "close", "reopen", "limits"])
def test_no_parameter_no_stranger_and_no_reader_changes_an_account(
    bank: Tenant, other_bank: Tenant, action: str
) -> None:
    alice = bank.person("alice")
    url, body = f"/v2/accounts/{alice.id}/{action}", WHY | ({"floor": None} if action == "limits" else {})
    before = written(bank, alice)
    reader = Tenant(bank.client, create_key(client=bank.client, scopes=["accounts:read"], actor="test")[1])
    assert code(bank.post(f"{url}?force=1", body)) == (400, "parameters_refused")
    assert code(other_bank.post(url, body)) == (404, "not_found")
    assert code(reader.post(url, body)) == (403, "scope_missing")
    assert written(bank, alice) == before


def test_the_same_key_changes_once_and_answers_again(bank: Tenant) -> None:
    alice = bank.person("alice")
    first = change(bank, alice, "freeze", key="once", sides="debits")
    change(bank, alice, "unfreeze")

    again = change(bank, alice, "freeze", key="once", sides="debits")

    assert (first.status_code, "Idempotent-Replayed" in first) == (200, False)
    assert (again.status_code, again["Idempotent-Replayed"], again.json()["frozen"]) == (200, "true", "none")
    assert told(bank, alice) == ["account.opened", "account.frozen", "account.unfrozen"]


@pytest.mark.parametrize(
    ("account", "action", "body"),
    [("alice", "freeze", {"sides": "credits"}), ("alice", "close", {}), ("bob", "freeze", {"sides": "debits"})],
)
def test_a_key_is_of_one_change_of_one_account(bank: Tenant, account: str, action: str, body: Any) -> None:
    people = {"alice": bank.person("alice"), "bob": bank.person("bob")}
    change(bank, people["alice"], "freeze", key="once", sides="debits")
    before = written(bank, people[account])
    assert code(change(bank, people[account], action, key="once", **body)) == (422, "idempotency_key_reused")
    assert written(bank, people[account]) == before


def test_without_a_key_a_change_is_made_as_well(bank: Tenant) -> None:
    alice = bank.person("alice")
    url = f"/v2/accounts/{alice.id}/freeze"
    answer = bank.http().post(url, data=json.dumps(WHY), content_type="application/json")
    assert (answer.status_code, answer.json()["frozen"]) == (200, "both")


def test_a_change_is_in_the_audit_trail_of_the_account(bank: Tenant) -> None:
    alice = bank.person("alice")
    change(bank, alice, "freeze")
    entry = AuditEntry.objects.get(client=bank.client, action="account.frozen")
    assert (entry.object_type, entry.object_id) == ("ledger.account", str(Account.objects.get(public_id=alice.id).pk))
    assert entry.reason == WHY["reason"]
    assert offences(bank.client.pk) == []


@pytest.mark.parametrize("sides", [Frozen.DEBITS, Frozen.CREDITS, Frozen.BOTH, Frozen.NONE])
def test_no_side_is_added_or_taken_by_nothing(sides: Frozen) -> None:
    assert sides.with_sides(Frozen.NONE) is sides.without_sides(Frozen.NONE) is sides
    assert sides.with_sides(Frozen.BOTH) is Frozen.BOTH
    assert sides.without_sides(Frozen.BOTH) is Frozen.NONE
