"""API8:2023, misconfiguration: what every address answers, whoever asks it by whatever method from wherever."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import pytest

from config.api.middleware import QUIET
from tests.ledger.owasp.world import send
from tests.ledger.routes import UNKNOWN, operations, places
from tests.people import Tenant

SAFE = {
    "Content-Security-Policy",
    "Cross-Origin-Opener-Policy",
    "Referrer-Policy",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "Cache-Control",
}
ELSEWHERE = "https://mallory.example"
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"}
ADDRESSES = sorted({re.sub("<[^>]+>", lambda found: UNKNOWN.get(found[0], "1"), place) for place, _ in places()})


def test_no_address_lets_another_origin_read_it(bank: Tenant) -> None:
    asked = {"Origin": ELSEWHERE, "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "authorization, idempotency-key"

    for address in ADDRESSES:
        for method, key in (("GET", {}), ("OPTIONS", {}), ("OPTIONS", as_bearer(bank))):
            told = {name.lower() for name in send(method, address, **asked | key).headers}
            assert not {name for name in told if name.startswith("access-control-")}, address


def test_every_answer_says_what_browsers_must_not_do_with_it(bank: Tenant) -> None:
    assert len(ADDRESSES) >= 100
    for address in ADDRESSES:
        headers = send("GET", address, **as_bearer(bank)).headers
        # A prober reads no headers; its answers are made before those of all others.
        assert address in QUIET or headers.keys() >= SAFE, (address, SAFE - headers.keys())


def test_a_method_that_an_address_does_not_take_is_refused_as_a_problem(bank: Tenant) -> None:
    taken = defaultdict(set)
    for route in operations():
        taken[route.url].add(route.method)

    for url, methods in taken.items():
        for method in METHODS - methods:
            answer = send(method, url, **as_bearer(bank))
            assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed"), (method, url)
            assert set(answer["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == methods, (method, url)


def test_a_failure_tells_nothing_of_the_inside(bank: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        secret = "SELECT 'of the inside'"
        raise ZeroDivisionError(secret)

    for view in {route.view for route in operations()}:
        monkeypatch.setattr(view, "initial", fail)

    for route in operations():
        answer = send(route.method, route.url, **as_bearer(bank))
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error"), route
        assert not re.search(rb"inside|SELECT|Traceback|\.py|ZeroDivision", answer.content), route


def test_a_head_is_a_get_without_its_body(bank: Tenant) -> None:
    for route in operations():
        if route.method == "GET":
            got, asked = (send(method, route.url, **as_bearer(bank)) for method in ("GET", "HEAD"))
            assert (asked.status_code, asked.content) == (got.status_code, b""), route


def as_bearer(bank: Tenant) -> dict[str, str]:
    return {"Authorization": f"Bearer {bank.key}"}
