"""A client that has some of everything that addresses name, and how each operation is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.apps import apps
from django.db.models import ForeignKey, Model
from django.test import Client as HttpClient

from config.runtime.ids import uuid7
from ledger.clients.models import Client
from ledger.clients.services import create_key
from ledger.domain.receipts import receipt_code
from tests.ledger.letters import recorded
from tests.ledger.numbered import at_rest
from tests.ledger.routes import Operation
from tests.people import URL, Tenant, body

WHY = {"reason": "order 17"}
STATEMENT = {"account": "users:alice:USD", "mapping": "iso_signed"}
HEADER = "id,date,reference,description,counterparty,amount,balance"
# What each operation that writes can be asked; a new one is written down here, with `{}` where it takes nothing.
BODIES: dict[str, dict[str, Any]] = {
    "POST /v2/accounts": {"path": "users:carol:USD", "kind": "liability", "currency": "USD"},
    "POST /v2/accounts/{id}/close": WHY,
    "POST /v2/accounts/{id}/freeze": WHY,
    "POST /v2/accounts/{id}/limits": WHY | {"floor": "-1.00"},
    "POST /v2/accounts/{id}/reopen": WHY,
    "POST /v2/accounts/{id}/unfreeze": WHY,
    "POST /v2/batches/{id}/retry": {},
    "POST /v2/batches/{id}/reverse": {},
    "POST /v2/dead-letters/replay": {"filter": {"client": "nobody's"}},
    "POST /v2/dead-letters/{id}/discard": WHY,
    "POST /v2/dead-letters/{id}/replay": WHY,
    "POST /v2/keys": {"scopes": ["accounts:read"]},
    "POST /v2/keys/{id}/revoke": WHY,
    "POST /v2/keys/{id}/rotate": WHY,
    "POST /v2/reconciliations": STATEMENT | {"content": f"{HEADER}\nb1,2026-03-01,,,,1.00,1.00\n"},
    "POST /v2/tokens": {"user_id": "alice"},
    "POST /v2/transactions": body(),
    "POST /v2/transactions/batch": {"mode": "atomic", "items": [body()]},
    "POST /v2/transactions/{id}/capture": {"amount": "0.01"},
    "POST /v2/transactions/{id}/retry": {},
    "POST /v2/transactions/{id}/reverse": {"amount": "0.01"},
    "POST /v2/transactions/{id}/void": WHY,
}
_missing = uuid7()
MISSING = dict.fromkeys(("accounts", "transactions", "batches", "reconciliations", "dead-letters"), str(_missing)) | {
    "receipts": receipt_code(_missing),
    "keys": "ZZZZZZZZ",
}


@dataclass(frozen=True)
class World:
    """A client, and the name of one of each thing that it has, by the noun before it in an address."""

    bank: Tenant
    ids: dict[str, str]

    @classmethod
    def new(cls, count: int = 1) -> World:
        """Return one with `count` of everything; its transaction is a hold of 1.00, captured in `count` parts."""
        bank = Tenant.new()
        alice, bob = bank.person("alice", holding="1000.00"), bank.person("bob", holding="1.00")
        captured = bank.post(URL, body(capture="manual")).json()
        ids = {"accounts": str(alice.id), "transactions": captured["id"], "receipts": captured["receipt_code"]}
        for number in range(count):
            bank.move(alice.path, bob.path, "0.50")
            done(bank.post(f"{URL}/{captured['id']}/capture", {"amount": "0.01", "final": number == count - 1}))
            done(bank.post(f"/v2/accounts/{alice.id}/limits", WHY | {"floor": f"-{number + 1}.00"}))
            ids["batches"] = done(bank.post(f"{URL}/batch", {"items": [body("0.01")] * count}))["id"]
            ids["reconciliations"] = done(bank.post("/v2/reconciliations", STATEMENT | {"content": lines(count)}))["id"]
            ids["keys"] = create_key(client=bank.client, scopes=["accounts:read"], actor="test")[0].pk
            ids["dead-letters"] = str(recorded(bank).pk)
        at_rest()
        return cls(bank, ids)

    def ask(self, operation: Operation, **sent: Any) -> Any:
        """Ask an operation about what the client has."""
        return ask(self.bank, operation, operation.of(self.ids), **sent)


def ask(tenant: Tenant, operation: Operation, url: str, *, data: Any = None, **headers: str) -> Any:
    """Ask an operation, with a body that it takes unless another is given, from an address that nobody else has."""
    text: bytes | str = ""
    if operation.method != "GET":
        text = data if isinstance(data, bytes) else json.dumps(BODIES[operation.name] if data is None else data)
    sent = {"Authorization": f"Bearer {tenant.key}", "Idempotency-Key": uuid4().hex, "Prefer": "wait=5"}
    return send(operation.method, url, text, **sent | headers)


def send(method: str, url: str, text: Any = "", **headers: str) -> Any:
    """Send a request from an address that nobody else has."""
    part = uuid4().hex
    address = f"2001:db8:{part[:4]}:{part[4:8]}::1"
    return _http().generic(method, url, text, content_type="application/json", headers=headers, REMOTE_ADDR=address)


@cache
def _http() -> HttpClient:
    """One for all: each would make the whole chain of middleware anew, which takes longer than most requests."""
    return HttpClient(SERVER_NAME="localhost", raise_request_exception=False)


def done(answer: Any) -> Any:
    assert answer.status_code in {200, 201, 207}, answer.content
    return answer.json()


def lines(count: int) -> str:
    """Return a bank's statement of which no line is in the books."""
    return "\n".join([HEADER, *(f"b{n},2026-03-01,,,,1.00,{n + 1}.00" for n in range(count)), ""])


def told(answer: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return everything an answer says, without the request's own id and what is left of the quota."""
    document = answer.json()
    assert document.pop("request_id", None) == answer["X-Request-ID"], answer.content
    own = {"X-Request-ID", "RateLimit"}
    return answer.status_code, document, {name: value for name, value in answer.items() if name not in own}


def rows_of(client: Client) -> dict[str, list[Any]]:
    """Return every row that the database has of a client, by its table."""
    return {
        model._meta.db_table: sorted(map(repr, model._default_manager.filter(**{path: client}).values_list()))
        for model, path in _paths().items()
    }


@cache
def _paths() -> dict[type[Model], str]:
    """Return what leads from each model to its client, through at most two others."""
    found: dict[type[Model], str] = {}
    for _ in range(3):
        for model in apps.get_models():
            for field in model._meta.fields:
                leads = isinstance(field, ForeignKey) and (
                    field.related_model is Client or field.related_model in found
                )
                if leads and model not in found:
                    further = found.get(field.related_model)  # type: ignore[arg-type]
                    found[model] = f"{field.name}__{further}" if further else field.name
    return found


@cache
def document(version: str) -> dict[str, Any]:
    """Return the OpenAPI document as it is committed; another test holds it to what is served."""
    path = Path(__file__).parents[3] / f"docs/reference/openapi-{version}.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def document_of(route: Operation) -> dict[str, Any]:
    """Return the document of the version that an operation belongs to."""
    return document("v2" if route.place.startswith("/v2/") else "v1")


def described(route: Operation) -> dict[str, Any]:
    """Return what the document says of an operation."""
    method, path = route.name.split(" ")
    found: dict[str, Any] = document_of(route)["paths"][path][method.lower()]
    return found


def resolved(route: Operation, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema itself where it is a reference to one."""
    reference = schema.get("$ref")
    return document_of(route)["components"]["schemas"][reference.rpartition("/")[2]] if reference else schema


def body_of(route: Operation) -> dict[str, Any]:
    """Return the schema of an operation's body; of one that takes none, that of an object without fields."""
    content = described(route).get("requestBody", {}).get("content", {})
    none = {"type": "object", "additionalProperties": False}
    return resolved(route, content.get("application/json", {}).get("schema", none))
