"""What each operation costs the database: so many statements, however many rows there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from ledger import lists
from ledger.clients.models import AuditEntry
from ledger.models import Account, Journal
from tests.counted import sent
from tests.ledger.backoffice import Staff
from tests.ledger.letters import recorded
from tests.ledger.owasp.world import BODIES, STATEMENT, World, ask, done, lines
from tests.ledger.routes import Operation, operations
from tests.ledger.statuses import forget
from tests.people import URL, body

FEW, MANY = 1, 3
# The status of the answer and the statements, whoever's thread sends them; the key is known. A new operation is written
# down here.
STATEMENTS = {
    "GET /v2/accounts": (200, 1),
    "POST /v2/accounts": (201, 9),
    "GET /v2/accounts/{id}": (200, 1),
    "GET /v2/accounts/{id}/balance": (200, 1),
    "POST /v2/accounts/{id}/close": (200, 12),
    "GET /v2/accounts/{id}/entries": (200, 2),
    "POST /v2/accounts/{id}/freeze": (200, 12),
    "GET /v2/accounts/{id}/history": (200, 2),
    "POST /v2/accounts/{id}/limits": (200, 11),
    "POST /v2/accounts/{id}/reopen": (200, 12),
    "GET /v2/accounts/{id}/statement": (200, 7),
    "POST /v2/accounts/{id}/unfreeze": (200, 12),
    "GET /v2/batches": (200, 1),
    "GET /v2/batches/{id}": (200, 2),
    "GET /v2/batches/{id}/items": (200, 3),
    "POST /v2/batches/{id}/retry": (409, 10),
    "POST /v2/batches/{id}/reverse": (207, 23),
    "GET /v2/dead-letters": (200, 1),
    "POST /v2/dead-letters/replay": (200, 9),
    "GET /v2/dead-letters/{id}": (200, 1),
    "POST /v2/dead-letters/{id}/discard": (200, 14),
    "POST /v2/dead-letters/{id}/replay": (409, 13),
    "GET /v2/events": (200, 2),
    "GET /v2/health": (200, 1),
    "GET /v2/health/metrics": (200, 0),
    "GET /v2/keys": (200, 1),
    "POST /v2/keys": (201, 15),
    "GET /v2/keys/{id}": (200, 1),
    "POST /v2/keys/{id}/revoke": (200, 13),
    "POST /v2/keys/{id}/rotate": (201, 19),
    "GET /v2/me": (200, 1),
    "GET /v2/receipts/{code}": (200, 1),
    "GET /v2/receipts/{code}/transaction": (200, 1),
    "GET /v2/reconciliations": (200, 1),
    "POST /v2/reconciliations": (201, 12),
    "GET /v2/reconciliations/{id}": (200, 2),
    "POST /v2/tokens": (201, 1),
    "GET /v2/transactions": (200, 1),
    "POST /v2/transactions": (201, 10),
    "POST /v2/transactions/batch": (207, 18),
    "GET /v2/transactions/sync": (200, 4),
    "GET /v2/transactions/{id}": (200, 1),
    "POST /v2/transactions/{id}/capture": (200, 17),
    "GET /v2/transactions/{id}/history": (200, 2),
    "GET /v2/transactions/{id}/proof": (200, 4),
    "POST /v2/transactions/{id}/retry": (409, 5),
    "POST /v2/transactions/{id}/reverse": (201, 13),
    "GET /v2/transactions/{id}/status": (200, 1),
    "POST /v2/transactions/{id}/void": (200, 18),
    "GET /v2/trial-balance": (200, 1),
}
# Each letter stands for itself: it is handled, or fails, in a database transaction of its own.
FOR_EACH_ROW = {"POST /v2/dead-letters/replay": 7}


# What the back office shows of each; that of lists stands in test_admin.py.
RECORDS: dict[str, Callable[[World], Any]] = {
    "ledger_account": lambda world: Account.objects.get(public_id=world.ids["accounts"]).pk,
    "ledger_transaction": lambda world: world.ids["transactions"],
    "ledger_batch": lambda world: world.ids["batches"],
    "ledger_journal": lambda world: Journal.objects.filter(client=world.bank.client).latest("id").pk,
    "clients_client": lambda world: world.bank.client.pk,
    "clients_apikey": lambda world: world.ids["keys"],
    "clients_auditentry": lambda world: AuditEntry.objects.filter(client=world.bank.client).latest("id").pk,
    "events_deadletter": lambda world: world.ids["dead-letters"],
}


@pytest.fixture(scope="module")
def worlds(django_db_setup, django_db_blocker) -> Iterator[dict[int, World]]:
    with django_db_blocker.unblock():
        yield {count: World.new(count) for count in (FEW, MANY)}


@pytest.fixture(autouse=True)
def _lists_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of a list costs no statement; here its price is asked."""
    monkeypatch.setattr(lists._cache, "_is_on", False)


pytestmark = pytest.mark.usefixtures("remembered_keys")


def test_every_operation_has_its_number() -> None:
    assert STATEMENTS.keys() == {one.name for one in operations()}


@pytest.mark.parametrize("route", operations(), ids=lambda one: one.name)
def test_an_operation_costs_the_same_statements_however_many_rows_there_are(
    db, worlds: dict[int, World], route: Operation
) -> None:
    status, statements = STATEMENTS[route.name]

    told = {count: measured(world, route, count) for count, world in worlds.items()}

    for count, (answered, asked) in told.items():
        expected = statements + FOR_EACH_ROW.get(route.name, 0) * count
        assert (answered, len(asked)) == (status, expected), "\n".join(asked)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_s_page_costs_the_same_statements_however_many_rows_hang_on_it(
    db, worlds: dict[int, World], viewer: Staff, name: str
) -> None:
    _, few, many = (viewer.queries(f"{name}_change", RECORDS[name](worlds[count])) for count in (FEW, FEW, MANY))

    assert len(few) == len(many) > 0, "\n".join(many)


def measured(world: World, route: Operation, count: int) -> tuple[int, list[str]]:
    ids, data = subject(world, route, count)
    if route.method == "GET":
        ask(world.bank, route, route.of(ids))
    else:
        world.bank.get("/v2/me")
    if route.name.endswith("/status") or route.name == "GET /v2/receipts/{code}":
        forget(world.bank, UUID(ids["transactions"]))
    answers: list[Any] = []
    asked = sent(lambda: answers.append(ask(world.bank, route, route.of(ids), data=data)))
    return answers[0].status_code, asked


def subject(world: World, route: Operation, count: int) -> tuple[dict[str, str], Any]:
    """Return what an operation is asked about, and its body."""
    ids, data = dict(world.ids), BODIES.get(route.name)
    match route.name.split("/")[2:], route.method:
        case ["accounts", *_], "POST":
            ids["accounts"] = str(account(world, "users:dora:USD").id)
        case ["transactions", _, "capture" | "void"], _:
            ids["transactions"] = done(world.bank.post(URL, body(capture="manual")))["id"]
        case ["transactions", "batch"], _:
            data = {"items": [body("0.01")] * count}
        case ["dead-letters", "replay"], _:
            data = {"ids": [str(recorded(world.bank).pk) for _ in range(count)]}
        case ["dead-letters", _, _], _:
            ids["dead-letters"] = str(recorded(world.bank).pk)
        case ["reconciliations"], "POST":
            data = STATEMENT | {"content": lines(count)}
    return ids, data


def account(world: World, path: str) -> Any:
    found = done(world.bank.get(f"/v2/accounts?path={path}"))["data"]
    return world.bank.account(path) if found else world.bank.person("dora")
