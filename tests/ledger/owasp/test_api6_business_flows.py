"""API6:2023, business flows: whatever moves money is asked with a key of its own, and no repetition moves it again.

What a flow may cost a client of its quota stands in test_quotas.py; races of equal requests in test_idempotency.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.ledger.audit import offences
from tests.ledger.owasp.world import BODIES, World, ask, done, rows_of
from tests.ledger.routes import Operation, operations
from tests.people import URL, body

# They have booked what a client asked for by a key before, and book no more than that, however often they are asked.
BOOKS_WHAT_WAS_ASKED = {"POST /v2/transactions/{id}/retry", "POST /v2/batches/{id}/retry"}
# v1 records what has happened elsewhere, under the id that it has there: a key is optional.
MOVING = [
    one
    for one in operations()
    if one.method != "GET" and one.scope == "transactions:write" and not one.place.startswith("/api/v1/")
]
ASKED = [one for one in MOVING if one.name not in BOOKS_WHAT_WAS_ASKED]
HELD = ("capture", "void")


@pytest.fixture(scope="module")
def world(django_db_setup, django_db_blocker) -> Iterator[World]:
    with django_db_blocker.unblock():
        yield World.new()


@pytest.mark.parametrize("route", ASKED, ids=lambda one: one.name)
def test_what_moves_money_needs_a_key_and_moves_nothing_when_it_is_repeated(db, world: World, route: Operation) -> None:
    ids, key = world.ids, route.name.replace(" ", "")
    if route.name.endswith(HELD):
        ids = ids | {"transactions": done(world.bank.post(URL, body(capture="manual")))["id"]}

    def asked(key: str) -> Any:
        return ask(world.bank, route, route.of(ids), **{"Idempotency-Key": key})

    before = rows_of(world.bank.client)

    unasked = asked("")
    assert (unasked.status_code, unasked.json()["code"]) == (400, "idempotency_key_malformed")
    assert rows_of(world.bank.client) == before

    first = asked(key)
    after = rows_of(world.bank.client)
    assert (first.status_code in {200, 201, 207}, first.get("Idempotent-Replayed")) == (True, None), first.content
    assert after["ledger_entry"] != before["ledger_entry"]

    again = asked(key)
    other = world.bank.post(URL, body("0.07"), key=key)
    assert (again.status_code, again["Idempotent-Replayed"]) == (first.status_code, "true")
    assert again.content == first.content
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert rows_of(world.bank.client) == after


def test_no_operation_that_moves_money_is_forgotten(db, world: World) -> None:
    assert {one.name for one in MOVING} >= BOOKS_WHAT_WAS_ASKED
    for route in MOVING:
        answer = world.bank.http().post(route.of(world.ids), BODIES[route.name], content_type="application/json")
        is_asked = (answer.status_code, answer.json().get("code")) == (400, "idempotency_key_missing")
        assert is_asked is (route in ASKED), route
    assert offences(world.bank.client.pk) == []
