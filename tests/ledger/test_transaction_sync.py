"""`GET /v2/transactions/sync`: a copy that is kept with it is the client's transactions."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from ledger.events.numbering import number_events
from tests.counted import statements
from tests.ledger.locks import in_thread
from tests.ledger.queueing import emptied
from tests.ledger.test_bad_input import problem
from tests.people import URL, Tenant, body

SYNC = f"{URL}/sync"


def numbered() -> None:
    while number_events():
        pass


class Copy:
    """What somebody keeps of a client's transactions."""

    def __init__(self, bank: Tenant, limit: int = 3) -> None:
        self.bank, self.limit, self.cursor = bank, limit, ""
        self.kept: dict[str, Any] = {}
        self.added: list[str] = []

    def follow(self) -> Copy:
        for _ in range(1_000):
            cursor = f"&cursor={self.cursor}" if self.cursor else ""
            answer = self.bank.get(f"{SYNC}?limit={self.limit}{cursor}").json()
            self.added += [one["id"] for one in answer["added"]]
            self.kept |= {one["id"]: one for one in answer["added"] + answer["modified"]}
            self.cursor = answer["next_cursor"]
            if not answer["has_more"]:
                return self
        raise AssertionError("It never ends.")


def stored(bank: Tenant) -> dict[str, Any]:
    return {one["id"]: one for one in bank.get(f"{URL}?limit=200").json()["data"]}


def test_what_came_is_added_and_what_changed_is_modified(people: Tenant) -> None:
    numbered()
    copy = Copy(people).follow()
    held = people.post(URL, body("1.00", capture="manual")).json()
    sent = people.post(URL, body("2.00")).json()
    failed = people.post(URL, body("99.00")).json()["transaction_id"]
    numbered()
    copy.follow()
    assert copy.added[-3:] == [held["id"], sent["id"], failed]

    people.post(f"{URL}/{held['id']}/capture", {"amount": "0.40"})
    part = people.post(f"{URL}/{sent['id']}/reverse", {"amount": "0.50"}).json()
    numbered()
    answer = people.get(f"{SYNC}?cursor={copy.cursor}").json()
    assert [one["id"] for one in answer["added"]] == [part["id"]]
    changed = {one["id"]: (one["captured"], one["reversed"]) for one in answer["modified"]}
    assert changed == {held["id"]: ("0.40", "0.00"), sent["id"]: (None, "0.50")}
    assert copy.follow().kept == stored(people)


def test_a_copy_is_what_is_stored_whatever_was_done(people: Tenant) -> None:
    copy = Copy(people, limit=2)
    chance, ids = random.Random(7), list[str]()
    for _ in range(25):
        act = chance.choice(("send", "hold", "fail", "capture", "void", "reverse"))
        target = chance.choice(ids) if ids else ""
        if act in ("send", "hold", "fail") or not ids:
            more = {"capture": "manual"} if act == "hold" else {}
            answer = people.post(URL, body("99.00" if act == "fail" else "0.10", **more)).json()
            ids.append(answer.get("transaction_id") or answer["id"])
        else:
            people.post(f"{URL}/{target}/{act}", {} if act == "void" else {"amount": "0.05"})
        if chance.random() < 0.3:
            numbered()
            copy.follow()
    numbered()
    assert copy.follow().kept == stored(people)
    assert len(copy.added) == len(set(copy.added))


def test_what_was_accepted_is_added_with_its_outcome(people: Tenant) -> None:
    numbered()
    copy = Copy(people).follow()
    accepted = people.post(URL, body("1.00"), Prefer="respond-async").json()
    numbered()
    assert people.get(f"{SYNC}?cursor={copy.cursor}").json()["added"] == []
    emptied()
    numbered()
    copy.follow()
    assert (copy.added[-1], copy.kept[accepted["id"]]["status"]) == (accepted["id"], "completed")


def test_none_is_passed_over_while_sixteen_write(people: Tenant) -> None:
    people.move("cash:USD", "users:alice:USD", "1000.00", type="cash_in")
    copy = Copy(people, limit=7)

    def write(seed: int) -> None:
        for _ in range(5):
            people.move("users:alice:USD", "users:bob:USD", f"0.{seed + 10}")

    with ThreadPoolExecutor(16) as pool:
        writers = [pool.submit(in_thread, partial(write, seed)) for seed in range(16)]
        while not all(writer.done() for writer in writers):
            numbered()
            copy.follow()
        for writer in writers:
            writer.result()
    numbered()
    assert copy.follow().kept == stored(people)
    assert len(copy.added) == len(set(copy.added)) == 82


@pytest.mark.usefixtures("remembered_keys")
def test_its_queries_do_not_grow_with_the_page(people: Tenant) -> None:
    for _ in range(5):
        people.post(URL, body("0.10"))
    numbered()
    people.get(SYNC)
    few, many = (statements(partial(people.get, f"{SYNC}?limit={limit}")) for limit in (1, 6))
    assert many <= few


REFUSED = {
    "a cursor that is none": ("cursor=7", 400, "cursor_malformed"),
    "a limit of nothing": ("limit=0", 400, "limit_out_of_range"),
    "another's name for it": ("after=7", 400, "parameters_refused"),
}


@pytest.mark.parametrize(("query", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_odd_questions_are_refused(people: Tenant, query: str, status: int, code: str) -> None:
    assert problem(people.get(f"{SYNC}?{query}")) == (status, code)


def test_another_clients_cursor_and_one_of_another_list_lead_nowhere(people: Tenant, other_bank: Tenant) -> None:
    for cursor in (other_bank.get(SYNC).json()["next_cursor"], people.get("/v2/events").json()["next_cursor"]):
        assert problem(people.get(f"{SYNC}?cursor={cursor}")) == (400, "cursor_mismatch")
    assert problem(Tenant.new(scopes=["events:read"]).get(SYNC)) == (403, "scope_missing")


def test_a_cursor_whose_events_are_dropped_is_gone(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered()
    cursor = people.get(f"{SYNC}?limit=1").json()["next_cursor"]
    bounds = "SELECT (SELECT max(position) FROM events_position), NULL::bigint"
    monkeypatch.setattr("ledger.events.feed.BOUNDS", bounds)
    assert problem(people.get(f"{SYNC}?cursor={cursor}")) == (410, "cursor_expired")
