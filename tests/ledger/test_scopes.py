"""Who may do what: every operation of the URL configuration, asked with every scope and role."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from config.api.permissions import AUTHENTICATED
from ledger.clients.scopes import RESERVED_PREFIX, ROLES, SCOPES, USER_SCOPES, scopes_named
from ledger.clients.services import create_key
from tests.ledger.routes import Operation, operations
from tests.people import Tenant

# A route that is opened to end users is written down here too, after a look at what it tells of others.
OPEN_TO_USERS = {
    "GET /v2/accounts",
    "GET /v2/accounts/01a00000-0000-7000-8000-000000000000",
    "GET /v2/accounts/01a00000-0000-7000-8000-000000000000/balance",
    "GET /v2/accounts/01a00000-0000-7000-8000-000000000000/entries",
    "GET /v2/accounts/01a00000-0000-7000-8000-000000000000/statement",
    "GET /v2/me",
    "GET /v2/receipts/RCP-20261121-0ECGYS6XK1J9JC6DR23KP3",
    "GET /v2/receipts/RCP-20261121-0ECGYS6XK1J9JC6DR23KP3/transaction",
    "GET /v2/transactions",
    "GET /v2/transactions/01a00000-0000-7000-8000-000000000000",
    "GET /v2/transactions/01a00000-0000-7000-8000-000000000000/status",
}


def asked(tenant: Tenant, operation: Operation, *, key: str | None = None) -> tuple[int, str]:
    """Return the status and code of an answer; nobody is near enough to be let in without a key."""
    sent = {} if key is None else {"Authorization": key}
    part = uuid4().hex
    answer: Any = tenant.http(**sent).generic(
        operation.method,
        operation.url,
        content_type="application/json",
        REMOTE_ADDR=f"2001:db8:{part[:4]}:{part[4:8]}::1",
    )
    is_problem = answer["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"] if is_problem else ""


def with_scopes(bank: Tenant, scopes: Any) -> Tenant:
    return Tenant(bank.client, create_key(client=bank.client, scopes=scopes, actor="test")[1])


def test_the_routes_are_found() -> None:
    assert len(operations()) >= 50
    assert {operation.scope for operation in operations()} == {*SCOPES, AUTHENTICATED}


def test_without_a_key_no_operation_lets_anybody_in(bank: Tenant) -> None:
    told = {str(operation): asked(bank, operation, key="") for operation in operations()}

    assert set(told.values()) == {(401, "unauthenticated")}, told


def test_every_operation_is_refused_without_its_scope_and_lets_in_with_it_alone(bank: Tenant) -> None:
    with_all_but = {scope: with_scopes(bank, SCOPES.keys() - {scope}) for scope in SCOPES}
    with_only = {scope: with_scopes(bank, [scope]) for scope in SCOPES}

    for operation in operations():
        if operation.scope == AUTHENTICATED:
            continue
        assert asked(with_all_but[operation.scope], operation) == (403, "scope_missing"), operation
        assert asked(with_only[operation.scope], operation)[0] not in (401, 403), operation


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_let_into_what_its_scopes_say_and_nothing_else(bank: Tenant, role: str) -> None:
    tenant = with_scopes(bank, scopes_named([role]))

    let_in = {operation for operation in operations() if asked(tenant, operation)[0] not in (401, 403)}

    assert let_in == {operation for operation in operations() if operation.scope in (*ROLES[role], AUTHENTICATED)}


def test_a_user_s_token_is_let_into_what_is_open_to_users_and_nothing_else(bank: Tenant) -> None:
    alice = bank.as_user("alice")

    told = {str(operation): asked(alice, operation) for operation in operations()}

    assert {name for name, (status, _) in told.items() if status not in (401, 403)} == OPEN_TO_USERS
    assert {told[name] for name in told.keys() - OPEN_TO_USERS} == {(403, "not_for_users")}


@pytest.mark.parametrize("scope", sorted(USER_SCOPES))
def test_a_token_with_one_scope_is_let_into_no_more(bank: Tenant, scope: str) -> None:
    alice = bank.as_user("alice", scopes=[scope])

    told = {operation: asked(alice, operation) for operation in operations() if operation.is_open_to_users}

    assert {operation.scope for operation, (status, _) in told.items() if status not in (401, 403)} == {
        scope,
        AUTHENTICATED,
    }
    assert {answer for answer in told.values() if answer[0] == 403} == {(403, "scope_missing")}


def test_what_is_open_to_users_needs_scopes_that_users_may_have() -> None:
    needed = {operation.scope for operation in operations() if operation.is_open_to_users}

    assert needed == {*USER_SCOPES, AUTHENTICATED}


def test_roles_are_made_of_scopes_and_only_the_operator_s_are_reserved() -> None:
    assert {scope for scopes in ROLES.values() for scope in scopes} == SCOPES.keys()
    reserved = {role for role, scopes in ROLES.items() if any(one.startswith(RESERVED_PREFIX) for one in scopes)}
    assert reserved == {"operator"}
    assert scopes_named(["monitor", "events:read"]) == ["health:read", "metrics:read", "events:read"]
    assert scopes_named(["all"]) == list(SCOPES)
