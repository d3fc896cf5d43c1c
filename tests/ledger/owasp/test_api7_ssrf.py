"""API7:2023, server-side request forgery: nobody tells the service where to go.

No operation takes an address. One that does hands it to config/runtime/outbound, whose attacks stand in
tests/config/test_outbound.py, and is written down here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.ledger.owasp.world import document

ROOT = Path(__file__).parents[3]
GUARDED: set[str] = set()
ADDRESS_LIKE = ("url", "uri", "href", "host", "callback", "endpoint", "proxy", "webhook")
# What can open a connection to where a text says.
CLIENTS = {"aiohttp", "ftplib", "http.client", "httpx", "requests", "smtplib", "socket", "urllib.request", "urllib3"}
# Our own servers, where the configuration says; never a client's word.
AT_HOME = (
    "config/localstack",
    "config/runtime/outbound",
    "config/web.py",
    "ledger/events/transports/redis_streams/source.py",  # asks for the name of its own host
)


def test_no_operation_takes_an_address() -> None:
    taken = {f"{version}: {name}" for version in ("v1", "v2") for name in inputs(document(version)) if is_address(name)}

    assert taken == GUARDED


def test_nobody_but_the_guard_opens_connections() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for package in ("config", "ledger")
        for path in (ROOT / package).rglob("*.py")
        if CLIENTS & set(imported(path))
    }

    assert {path for path in found if not path.startswith(AT_HOME)} == set()


def is_address(name: str) -> bool:
    return "uri" in name.partition(" ")[2] or any(word in name.partition(" ")[0].lower() for word in ADDRESS_LIKE)


def inputs(openapi: dict[str, Any]) -> Iterator[str]:
    """Return the name and format of every parameter and of every field, at any depth, that an operation takes."""
    for operations in openapi["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                yield f"{parameter['name']} {parameter['schema'].get('format', '')}"
            for content in operation.get("requestBody", {}).get("content", {}).values():
                yield from fields(openapi, content["schema"])


def fields(openapi: dict[str, Any], schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for one in schema:
            yield from fields(openapi, one)
    if not isinstance(schema, dict):
        return
    if reference := schema.get("$ref"):
        yield from fields(openapi, openapi["components"]["schemas"][reference.rpartition("/")[2]])
    for name, field in schema.get("properties", {}).items():
        yield f"{name} {field.get('format', '')}"
        yield from fields(openapi, field)
    for inner in ("items", "anyOf", "allOf", "oneOf", "additionalProperties"):
        yield from fields(openapi, schema.get(inner))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
