"""API9:2023, inventory: what is served is what is documented, version by version, and nothing else is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from config.api.permissions import AUTHENTICATED, HasScope
from tests.ledger.owasp.world import document
from tests.ledger.routes import documented, operations, places

# What is for people, probes and generators; staff's pages stand below /admin/.
PAGES = {
    "/livez",
    "/docs/migrate-v1-v2",
    "/readyz",
    "/docs",
    "/docs/errors",
    "/redoc",
    "/v2/schema",
    "/v2/docs",
    "/api/v1/schema",
    "/api/v1/docs",
}


def served() -> Iterator[tuple[str, str]]:
    """Return address and method of every operation of an API."""
    for place, callback in places():
        view: Any = getattr(callback, "cls", None)
        if view is not None:
            named = getattr(callback, "actions", None) or [one for one in view.http_method_names if hasattr(view, one)]
            yield from ((documented(place), method) for method in {*named} - {"head", "options"})


@pytest.mark.parametrize(("version", "prefix"), [("v1", "/api/v1/"), ("v2", "/v2/")])
def test_the_document_of_a_version_names_its_operations_and_no_other(version: str, prefix: str) -> None:
    paths = document(version)["paths"]

    described = {(path, method) for path, operations in paths.items() for method in operations}

    assert described == {(path, method) for path, method in served() if path.startswith(prefix)}


def test_what_is_no_operation_is_a_page_that_is_written_down() -> None:
    pages = {place for place, callback in places() if not hasattr(callback, "cls")}

    assert {place for place in pages if not place.startswith("/admin/")} == PAGES


def test_every_operation_asks_for_a_key_and_its_document_says_so() -> None:
    asked = {(documented(one.place), one.method.lower()): one.scope for one in operations()}

    assert asked.keys() == set(served())
    for (path, method), scope in asked.items():
        operation = document("v2" if path.startswith("/v2/") else "v1")["paths"][path][method]
        assert operation["security"] == [{"bearer": [] if scope == AUTHENTICATED else [scope]}], path


def test_every_operation_has_a_throttle() -> None:
    views = {callback.cls for _, callback in places() if hasattr(callback, "cls")}

    assert {view for view in views if not view.throttle_classes} == set()
    assert all(any(issubclass(one, HasScope) for one in view.permission_classes) for view in views)
