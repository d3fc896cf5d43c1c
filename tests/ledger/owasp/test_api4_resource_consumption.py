"""API4:2023, resource consumption: what is at a limit is taken and what is over it refused, on every operation.

The limits are those of the OpenAPI document. Those of batches stand in test_batches.py, of tiers in test_quotas.py, of
slow and large clients in tests/acceptance/test_slow_clients.py.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from config.runtime.quota.bucket import Quota
from ledger.clients.tiers import TIERS
from tests.ledger.owasp.world import BODIES, World, ask, body_of, described, resolved
from tests.ledger.routes import Operation, operations
from tests.people import Tenant

WRITES = [one for one in operations() if one.method != "GET"]
READS = [one for one in operations() if one.method == "GET"]
MEBIBYTE = 1 << 20
DEPTH_MAX = 32
SIGNED = {"cursor", "after"}  # nobody makes one up
FREE = {"GET /v2/health", "GET /v2/health/metrics"}
ELSEWHERE = {"POST /v2/transactions/batch /items", "POST /v2/transactions/batch /items/0/legs"}
# Counted by the operation itself, which says by a code of its own what there is too much of.
OWN_CODES = {"/legs": ("legs_too_few", "legs_too_many")}


@pytest.fixture(scope="module")
def world(django_db_setup, django_db_blocker) -> Iterator[World]:
    with django_db_blocker.unblock():
        yield World.new()


def test_every_body_is_read_up_to_its_limit_and_not_a_byte_further(db, world: World) -> None:
    for route in {route.view: route for route in WRITES}.values():  # it is the view's
        limit = getattr(route.view, "body_limit", MEBIBYTE)
        taken, refused = (world.ask(route, data=b'{"x":1}'.ljust(size)) for size in (limit, limit + 1))
        assert (taken.status_code, taken.json()["errors"][0]["code"]) == (422, "field_unknown"), route
        assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large"), route
        assert refused.json()["limit_bytes"] == limit


def test_every_body_is_read_thirty_two_levels_deep_and_no_deeper(db, world: World) -> None:
    for route in WRITES:
        taken, refused = (
            world.ask(route, data=b'{"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}")
            for depth in (DEPTH_MAX, DEPTH_MAX + 1)
        )
        assert (taken.status_code, taken.json()["errors"][0]["code"]) == (422, "field_unknown"), route
        assert (refused.status_code, refused.json()["code"]) == (400, "json_too_deep"), route


def test_every_key_of_a_request_has_up_to_255_characters(db, world: World) -> None:
    for route in WRITES:
        taken = world.ask(route, data=b'{"x":1}', **{"Idempotency-Key": "k" * 255})
        refused = world.ask(route, **{"Idempotency-Key": "k" * 256})
        assert (taken.status_code, taken.json()["errors"][0]["code"]) == (422, "field_unknown"), route
        assert (refused.status_code, refused.json()["code"]) == (400, "idempotency_key_malformed"), route


def test_every_parameter_is_taken_at_its_limits_and_refused_beyond_them(db, world: World) -> None:
    found = [(route, one) for route in READS for one in described(route).get("parameters", []) if one["in"] == "query"]
    measured = set()

    for route, parameter in found:
        for inside, outside in edges(parameter["schema"]) if parameter["name"] not in SIGNED else ():
            within, beyond = (asked(world, route, parameter["name"], value) for value in (inside, outside))
            assert within.status_code == 200, (route, parameter["name"], within.content)
            names = [error["pointer"] for error in beyond.json()["errors"]]
            assert (beyond.status_code, names) == (400, [parameter["name"]]), route
            measured.add(parameter["name"])

    assert measured >= {"limit", "types", "status__in", "type__in", "currency__in", "reference", "path", "path_prefix"}


def test_every_field_is_taken_at_its_limits_and_refused_beyond_them(db, world: World) -> None:
    measured = set()

    for route in WRITES:
        for place, schema in limited(route, body_of(route), BODIES[route.name], ()):
            pointer = "".join(f"/{step}" for step in place)
            if f"{route.name} {pointer}" in ELSEWHERE:
                continue
            codes = OWN_CODES.get(pointer, ("field_length", "field_range"))
            for inside, outside in edges(schema):
                within, beyond = (world.ask(route, data=put(route, place, value)) for value in (inside, outside))
                told = [(error["pointer"], error["code"]) for error in within.json().get("errors", [])]
                assert not {(pointer, code) for code in codes} & set(told), (route, pointer, told)
                (error,) = beyond.json()["errors"]
                assert (beyond.status_code, error["pointer"]) == (422, pointer), (route, error)
                assert error["code"] in codes, (route, error)
            measured.add(place[-1])

    assert measured >= {"reason", "description", "reference", "path", "label", "overlap_s", "ttl_s", "ids", "legs"}


def test_every_operation_is_refused_to_who_has_used_up_the_quota(db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TIERS, "internal", replace(TIERS["internal"], quota=Quota(1, 1)))
    bank = Tenant.new()
    ask(bank, READS[0], READS[0].url)

    told = {route.name: ask(bank, route, route.url) for route in operations()}

    assert {name for name, answer in told.items() if answer.status_code != 429} == FREE
    assert all("Retry-After" in answer for name, answer in told.items() if name not in FREE)


def asked(world: World, route: Operation, name: str, value: Any) -> Any:
    text = ",".join(value) if isinstance(value, list) else str(value)
    return ask(world.bank, route, f"{route.of(world.ids)}?{name}={text}")


def edges(schema: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Return the values at each limit of a schema, and those one beyond it; choices have none."""
    if "enum" in schema:
        return
    if "maxLength" in schema:
        yield text(schema["maxLength"]), text(schema["maxLength"] + 1)
    if schema.get("minLength"):
        yield text(schema["minLength"]), text(schema["minLength"] - 1)
    if "maximum" in schema:
        yield schema["maximum"], schema["maximum"] + 1
    if "minimum" in schema:
        yield schema["minimum"], schema["minimum"] - 1
    if "maxItems" in schema:
        yield several(schema, schema["maxItems"]), several(schema, schema["maxItems"] + 1)
    if schema.get("minItems"):
        yield several(schema, schema["minItems"]), several(schema, schema["minItems"] - 1)


def text(length: int) -> str:
    """Return so many characters: a path, a name, a sentence, whatever is asked for."""
    return "".join(":" if n % 64 == 63 and n < length - 1 else "1" for n in range(length))


def several(schema: dict[str, Any], count: int) -> list[Any]:
    one = schema["items"]
    if "$ref" in one:  # the only list of objects beside a batch's items: each leg has another account, or none
        return [{"account": f"a:{n}", "side": "debit", "amount": "1.00", "currency": "USD"} for n in range(count)]
    return [str(uuid4()) if one.get("format") == "uuid" else one.get("enum", ["10.0.0.0/8"])[0] for _ in range(count)]


def limited(route: Operation, schema: Any, sent: Any, place: tuple[str, ...]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Return the place of every field that has limits, in the body and in what it sends of other objects."""
    schema = resolved(route, schema)
    for one in schema.get("anyOf", [schema]):
        if place and any(True for _ in edges(one)):
            yield place, one
    for name, field in schema.get("properties", {}).items():
        yield from limited(route, field, sent.get(name) if isinstance(sent, dict) else None, (*place, name))
    if "items" in schema and isinstance(sent, list):
        yield from limited(route, schema["items"], sent[0], (*place, "0"))


def put(route: Operation, place: tuple[str, ...], value: Any) -> Any:
    """Return the operation's body with another value in one place."""
    sent = copy.deepcopy(BODIES[route.name])
    inner: Any = sent
    for step in place[:-1]:
        inner = inner[int(step)] if isinstance(inner, list) else inner.setdefault(step, {})
    if place[-1] == "legs":
        for name in ("debit_account", "credit_account", "amount", "currency"):
            inner.pop(name, None)
    if place[0] in {"ids", "filter"}:  # either one or the other
        sent.pop({"ids": "filter", "filter": "ids"}[place[0]], None)
    inner[place[-1]] = value
    return sent
