"""API3:2023, property level: nobody writes what is only to be read, and no field is taken that is not declared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.ledger.owasp.world import BODIES, World, body_of, described, resolved, rows_of
from tests.ledger.routes import Operation, operations

# What no answer shows and other services have been made to write.
COVETED = {"client", "client_id", "is_admin", "is_staff", "role", "tier", "balance", "posted_minor", "__proto__"}
WRITES = [one for one in operations() if one.method != "GET"]


def test_no_operation_takes_a_field_of_its_answer_that_is_only_to_be_read(db) -> None:
    world = World.new()
    before = rows_of(world.bank.client)
    assert set(before) >= {"ledger_balance", "ledger_entry", "ledger_transaction", "ledger_transactionevent"}
    assert len(WRITES) >= 20

    for route in WRITES:
        extra = (answered(route) | COVETED) - taken(route)
        for name in sorted(extra):
            answer = world.ask(route, data=BODIES[route.name] | {name: "mine"})
            (error,) = answer.json()["errors"]
            refused = (answer.status_code, error["pointer"], error["code"])
            assert refused == (422, f"/{name}", "field_unknown"), (route, name)

    assert rows_of(world.bank.client) == before


def test_every_object_in_a_body_says_which_fields_it_has() -> None:
    """Or, where the names are the client's own, that the values are no objects."""
    for route in WRITES:
        for name, schema in objects_in(route, body_of(route), route.name):
            values = schema.get("additionalProperties")
            kinds = {one.get("type") for one in values.get("anyOf", [values])} if values else set()
            assert values is False or kinds <= {"string", "integer", "boolean", "null"}, name
            assert values is not None, name


def taken(route: Operation) -> set[str]:
    return set(body_of(route).get("properties", {}))


def answered(route: Operation) -> set[str]:
    """Return the fields of what an operation answers when it succeeds."""
    answers = [one for status, one in described(route)["responses"].items() if status.startswith("2")]
    schemas = [resolved(route, one["content"]["application/json"]["schema"]) for one in answers]
    return {name for schema in schemas for name in schema["properties"]}


def objects_in(route: Operation, schema: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every object of a body, itself included, with the name of its field."""
    if isinstance(schema, list):
        for one in schema:
            yield from objects_in(route, one, name)
        return
    schema = resolved(route, schema)
    if "properties" in schema or "additionalProperties" in schema:
        yield name, schema
    for field, inner in schema.get("properties", {}).items():
        yield from objects_in(route, inner, f"{name}/{field}")
    for inner in ("items", "anyOf", "allOf", "oneOf"):
        yield from objects_in(route, schema.get(inner, []), name)
