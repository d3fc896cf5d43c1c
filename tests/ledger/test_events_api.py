"""`GET /v2/events`: every event of the client once, in the order of positions, as long as it is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.events.models import OutboxEvent
from ledger.events.numbering import number_events
from tests.ledger.test_bad_input import problem
from tests.people import URL, Tenant, body

EVENTS = "/v2/events"


def numbered() -> None:
    while number_events():
        pass


@pytest.fixture
def people(bank: Tenant) -> Tenant:
    """A bank where alice holds 10.00 and bob nothing; its four events have their positions."""
    bank.person("alice", holding="10.00")
    bank.person("bob")
    numbered()
    return bank


def followed(bank: Tenant, limit: int = 2, **parameters: str) -> list[Any]:
    """Return all events, as one gets them who goes on until nothing comes."""
    found, after = list[Any](), ""
    for _ in range(50):
        query = "&".join([f"{name}={value}" for name, value in parameters.items()] + [f"limit={limit}"])
        answer = bank.get(f"{EVENTS}?{query}" + (f"&after={after}" if after else "")).json()
        if after == answer["next_cursor"]:
            return found
        found, after = found + answer["data"], answer["next_cursor"]
    raise AssertionError("It never ends.")


def test_all_that_happened_is_told_in_order_and_a_cursor_is_always_there(people: Tenant) -> None:
    transaction = people.post(URL, body("1.00")).json()
    before = followed(people)
    numbered()
    events = followed(people)

    assert [event["type"] for event in before] == [
        "account.opened",
        "account.opened",
        "transaction.completed",
        "account.opened",
    ]
    assert events[:-1] == before
    last = events[-1]
    assert (last["type"], last["key"], last["sequence"]) == (
        "transaction.completed",
        transaction["debit_account"]["id"],
        3,  # after the account's opening and the payment into it
    )
    data = last["data"]
    assert [entry["account_version"] for entry in data.pop("entries")] == [2, 1]
    assert data == transaction
    assert last["occurred_at"] >= transaction["completed_at"]
    recorded = OutboxEvent.objects.get(event_id=last["id"])
    assert json.loads(recorded.data)["id"] == transaction["id"]
    positions = [event["position"] for event in events]
    assert positions == sorted(set(positions))


def test_who_goes_on_gets_what_came_since(people: Tenant) -> None:
    cursor = people.get(EVENTS).json()["next_cursor"]
    assert people.get(f"{EVENTS}?after={cursor}").json() == {"data": [], "next_cursor": cursor}
    people.post(URL, body("1.00"))
    numbered()
    page = people.get(f"{EVENTS}?after={cursor}").json()
    assert [event["type"] for event in page["data"]] == ["transaction.completed"]
    assert page["next_cursor"] != cursor


def test_a_client_without_events_has_a_cursor_too(db) -> None:
    nobody = Tenant.new()
    answer = nobody.get(EVENTS)
    assert (answer.status_code, answer.json()["data"]) == (200, [])
    numbered()
    page = nobody.get(f"{EVENTS}?after={answer.json()['next_cursor']}").json()
    assert [event["type"] for event in page["data"]] == ["account.opened"]


TYPES = {
    "one": ("account.opened", {"account.opened"}),
    "two": ("account.opened,transaction.completed", {"account.opened", "transaction.completed"}),
    "all of a kind": ("transaction.*", {"transaction.completed"}),
    "all": ("*", {"account.opened", "transaction.completed"}),
    "one that did not happen": ("account.frozen", set()),
}


@pytest.mark.parametrize(("asked", "found"), TYPES.values(), ids=TYPES)
def test_some_types_only(people: Tenant, asked: str, found: set[str]) -> None:
    assert {event["type"] for event in followed(people, types=asked)} == found


def test_what_is_passed_over_is_not_looked_at_again(people: Tenant) -> None:
    answer = people.get(f"{EVENTS}?types=account.frozen").json()
    assert (answer["data"], people.get(EVENTS).json()["next_cursor"]) == ([], answer["next_cursor"])


def test_of_some_types_a_page_looks_at_a_window_only(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.events.feed.WINDOW", 2)
    assert [event["type"] for event in people.get(f"{EVENTS}?types=transaction.*").json()["data"]] == []
    assert [event["type"] for event in followed(people, types="transaction.*")] == ["transaction.completed"]


REFUSED = {
    "an unknown type": ("types=account.sold", 400, "parameters_refused"),
    "half a type": ("types=account.o*", 400, "parameters_refused"),
    "an empty type": ("types=account.opened,", 400, "parameters_refused"),
    "nothing": ("types=", 400, "parameters_refused"),
    "too many": ("types=" + ",".join(["*"] * 101), 400, "parameters_refused"),
    "a limit of nothing": ("limit=0", 400, "limit_out_of_range"),
    "a cursor that is none": ("after=7", 400, "cursor_malformed"),
    "a long one": ("after=" + "7" * 600, 400, "cursor_malformed"),
    "a list's parameter": ("cursor=7", 400, "parameters_refused"),
}


@pytest.mark.parametrize(("query", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_odd_questions_are_refused(people: Tenant, query: str, status: int, code: str) -> None:
    assert problem(people.get(f"{EVENTS}?{query}")) == (status, code)


def test_the_events_of_others_are_not_there_and_their_cursors_lead_nowhere(people: Tenant, other_bank: Tenant) -> None:
    other_bank.person("mallory", holding="5.00")
    numbered()
    ours = {event["id"] for event in followed(people)}
    theirs = {event["id"] for event in followed(other_bank)}
    assert (len(ours), len(theirs), ours & theirs) == (4, 3, set())
    cursor = other_bank.get(EVENTS).json()["next_cursor"]
    assert problem(people.get(f"{EVENTS}?after={cursor}")) == (400, "cursor_mismatch")
    forged = cursor.replace(cursor[0], "9", 1)
    assert problem(other_bank.get(f"{EVENTS}?after={forged}")) == (400, "cursor_malformed")


def test_a_key_without_the_scope_reads_nothing(db) -> None:
    assert problem(Tenant.new(scopes=["transactions:read"]).get(EVENTS)) == (403, "scope_missing")


def test_a_cursor_whose_events_are_dropped_is_gone(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    cursor = people.get(f"{EVENTS}?limit=1").json()["next_cursor"]
    bounds = "SELECT (SELECT max(position) FROM events_position), NULL::bigint"
    monkeypatch.setattr("ledger.events.feed.BOUNDS", bounds)
    answer = people.get(f"{EVENTS}?after={cursor}")
    assert problem(answer) == (410, "cursor_expired")
    assert people.get(EVENTS).status_code == 200
