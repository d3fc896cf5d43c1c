"""API1:2023, object level: whose a thing is decides on every route, and what is another's does not exist.

What one end user must not see of another stands in test_user_reach.py, what a filter must not find in test_tenancy.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ledger.clients.scopes import RESERVED_PREFIX, SCOPES
from tests.ledger.owasp.world import MISSING, World, ask, rows_of, told
from tests.ledger.routes import Operation, operations
from tests.people import Tenant

# The operator's routes are the only ones that see across clients.
OURS = [one for one in operations() if not one.scope.startswith(RESERVED_PREFIX)]
OPERATORS = [one for one in operations() if one.scope.startswith(RESERVED_PREFIX)]


@pytest.fixture(scope="module")
def theirs(django_db_setup, django_db_blocker) -> Iterator[World]:
    with django_db_blocker.unblock():
        yield World.new()


def test_another_client_s_object_is_told_like_a_missing_one_on_every_route(db, bank: Tenant, theirs: World) -> None:
    before = rows_of(theirs.bank.client)
    routes = [one for one in OURS if one.noun]
    assert len(routes) >= 25

    for route in routes:
        foreign = told(ask(bank, route, route.of(theirs.ids)))
        assert foreign == told(ask(bank, route, route.of(MISSING))), route
        assert foreign[0] == 404, route

    assert rows_of(theirs.bank.client) == before
    assert all(theirs.ask(route).status_code == 200 for route in routes if route.method == "GET")


def test_no_list_holds_anything_of_another_client(db, bank: Tenant, theirs: World) -> None:
    names = {*theirs.ids.values(), str(theirs.bank.client.public_id)} - {theirs.ids["dead-letters"]}
    lists = [one for one in OURS if one.method == "GET" and not one.noun]

    seen = {route: names_in(theirs.bank, route, names) for route in lists}

    assert set.union(*seen.values()) == names  # else they would be missing everywhere
    assert {str(route): names_in(bank, route, names) for route in lists} == {str(route): set() for route in lists}


def test_the_operator_s_routes_are_closed_to_every_other_tier_whosever_the_object_is(db, theirs: World) -> None:
    customer = Tenant.new(tier="premium", scopes=[one for one in SCOPES if not one.startswith(RESERVED_PREFIX)])

    for route in OPERATORS:
        foreign = told(ask(customer, route, route.of(theirs.ids)))
        assert foreign == told(ask(customer, route, route.of(MISSING))), route
        assert (foreign[0], foreign[1]["code"]) == (403, "scope_missing"), route


def names_in(tenant: Tenant, route: Operation, names: set[str]) -> set[str]:
    answer = ask(tenant, route, route.place)
    assert answer.status_code == 200, route
    return {name for name in names if name in answer.content.decode()}
