from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client

from config.api.docs import known_errors
from config.api.problems import STATUS, problem_document
from config.runtime.errors import DomainError, FieldError, Invalid, Kind

pytestmark = pytest.mark.urls("tests.config.routes")

STANDARD = {"type", "title", "status", "code", "detail", "request_id", "errors"}


@pytest.fixture
def api() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture
def port() -> Iterator[int]:
    """The application behind a real socket."""
    server = make_server("127.0.0.1", 0, WSGIHandler(), handler_class=SilentHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


class SilentHandler(WSGIRequestHandler):
    def log_message(self, *_args: object) -> None:
        """Say nothing."""


def test_the_table_gives_every_kind_its_status():
    assert {kind.value: status for kind, status in STATUS.items()} == {
        "malformed": 400,
        "unauthenticated": 401,
        "forbidden": 403,
        "not_found": 404,
        "conflict": 409,
        "gone": 410,
        "precondition": 412,
        "too_large": 413,
        "invalid": 422,
        "limited": 429,
        "internal": 500,
        "busy": 503,
    }
    assert set(STATUS) == set(Kind)


def test_a_document_has_the_standard_members_first_and_fields_never_replace_them():
    error = Invalid(errors=(FieldError("/a", "field_type", "No."),), status=200, code="fine", extra=1)

    document = problem_document(error, request_id="r-1")

    assert document == {
        "type": "/docs/errors#invalid",
        "title": "Invalid",
        "status": 422,
        "code": "invalid",
        "detail": "The input is well-formed, but some of it cannot be accepted; `errors` names each place.",
        "errors": [{"pointer": "/a", "code": "field_type", "detail": "No."}],
        "request_id": "r-1",
        "extra": 1,
    }


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("domain", 409, "till_empty"),
        ("busy", 503, "till_busy"),
        ("fields", 422, "field_range"),
        ("unexpected", 500, "internal_error"),
        ("http404", 404, "not_found"),
        ("denied", 403, "forbidden"),
        ("suspicious", 400, "request_malformed"),
        ("bad-request", 400, "request_malformed"),
        ("parse", 400, "request_malformed"),
        ("throttled", 429, "rate_limited"),
        ("operational", 503, "database_unavailable"),
        ("session", 503, "database_unavailable"),
        ("interface", 503, "database_unavailable"),
        ("lock", 503, "lock_timeout"),
        ("statement", 503, "query_timeout"),
        ("serialization", 503, "update_collision"),
    ],
)
@pytest.mark.parametrize("route", ["/v2/fail", "/plain"])
def test_every_failure_is_a_problem_without_internals_behind_both_kinds_of_view(
    db, api: Client, *, route: str, kind: str, status: int, code: str
):
    answer = api.get(f"{route}/{kind}", headers={"X-Request-ID": "request-0001"})

    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["X-Request-ID"] == "request-0001"
    document = answer.json()
    assert document.keys() >= STANDARD
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"] == f"/docs/errors#{code}"
    assert document["request_id"] == "request-0001"
    assert b"secret" not in answer.content
    assert b"Traceback" not in answer.content


def test_fields_of_an_error_are_members_of_its_document(api: Client):
    assert api.get("/v2/fail/domain").json()["till"] == "7"


def test_a_serializer_s_errors_become_json_pointers(api: Client):
    errors = api.get("/v2/fail/validation").json()["errors"]

    assert errors == [
        {"pointer": "/url", "code": "field_invalid", "detail": "bad"},
        {"pointer": "/list/1/a", "code": "field_invalid", "detail": "worse"},
    ]


@pytest.mark.parametrize(
    ("kind", "seconds"), [("busy", "7"), ("busy-default", "1"), ("throttled", "3"), ("operational", "1")]
)
def test_busy_and_limited_say_when_to_come_back(api: Client, kind: str, seconds: str):
    assert api.get(f"/v2/fail/{kind}")["Retry-After"] == seconds


def test_a_conflict_does_not_say_when_to_come_back(api: Client):
    assert "Retry-After" not in api.get("/v2/fail/domain")


def test_the_driver_s_own_errors_are_known_too(api: Client):
    assert api.get("/v2/fail/driver").json()["code"] == "update_collision"


def test_no_free_database_connection_is_a_503_and_not_a_500(db, api: Client):
    from django.db import connection

    pool: Any = connection.pool  # type: ignore[attr-defined]  # psycopg's, absent from Django's base
    connection.close()
    held = [pool.getconn() for _ in range(pool.max_size)]
    timeout, pool.timeout = pool.timeout, 0.1
    try:
        answer = api.get("/v2/fail/lock")
    finally:
        pool.timeout = timeout
        for taken in held:
            pool.putconn(taken)

    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer["Retry-After"] == "1"


def test_an_unknown_address_is_a_problem(api: Client):
    answer = api.get("/v2/nowhere")

    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "route_not_found"
    assert b"nowhere" not in answer.content


def test_an_unknown_host_is_a_problem(api: Client):
    answer = api.get("/v2/echo", headers={"Host": "evil.example"})

    assert (answer.status_code, answer.json()["code"]) == (400, "request_malformed")


def test_the_admin_keeps_django_s_pages(api: Client):
    for kind, status in {"http404": 404, "denied": 403, "suspicious": 400, "unexpected": 500}.items():
        answer = api.get(f"/admin/fail/{kind}")
        assert (answer.status_code, answer["Content-Type"].split(";")[0]) == (status, "text/html")


def test_the_framework_s_own_statuses_have_the_same_form(api: Client):
    key = {"Authorization": "Bearer 1:echo:write"}

    method = api.put("/v2/echo", headers=key)
    accept = api.post("/v2/echo", b"{}", content_type="application/json", headers=key | {"Accept": "text/html"})
    media = api.post("/v2/echo", b"a=1", content_type="application/x-www-form-urlencoded", headers=key)

    assert (method.status_code, method.json()["code"], method["Allow"]) == (405, "method_not_allowed", "POST, OPTIONS")
    assert (accept.status_code, accept.json()["code"]) == (406, "not_acceptable")
    assert (media.status_code, media.json()["code"]) == (415, "media_type_unsupported")


def test_a_request_without_key_is_told_to_bring_a_bearer(api: Client):
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        answer = api.post("/v2/echo", b"{}", content_type="application/json", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer["WWW-Authenticate"] == 'Bearer realm="countinghouse"'


def test_a_body_that_ends_early_is_refused(port: int):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(
            b"POST /v2/echo HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b'Authorization: Bearer 1:echo:write\r\nContent-Length: 100\r\n\r\n{"a": 1}'
        )
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(1 << 16), b""))

    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b'"code":"body_incomplete"' in answer


def test_a_refusal_arrives_although_a_client_with_a_key_is_still_sending(port: int):
    length = 12 << 20
    head = (
        "POST /v2/echo HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Authorization: Bearer 1:echo:write\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
        for _ in range(length >> 16):
            client.sendall(b" " * (1 << 16))
        answer = b"".join(iter(lambda: client.recv(1 << 16), b""))

    assert answer.startswith(b"HTTP/1.0 413 ")
    assert b'"code":"body_too_large"' in answer


@pytest.mark.parametrize(("path", "status"), [("/v2/echo", 401), ("/v2/nowhere", 404)])
def test_without_a_key_the_connection_ends_where_a_body_is_left_unread(api: Client, path: str, status: int):
    unread = api.post(path, b"{}", content_type="application/json")
    without = api.get(path)

    assert (unread.status_code, unread["Connection"]) == (status, "close")
    assert (without.status_code, "Connection" in without) == (status, False)


def test_a_refused_body_that_was_read_leaves_the_connection_open(api: Client):
    key = {"Authorization": "Bearer 1:orders:write"}

    answer = api.post("/v2/orders", b'{"items": 1}', content_type="application/json", headers=key)

    assert (answer.status_code, "Connection" in answer) == (422, False)


def kinds_of(parent: type[DomainError]) -> Iterator[type[DomainError]]:
    for child in parent.__subclasses__():
        yield from kinds_of(child)
        if "code" in vars(child) and not child.__module__.startswith("tests."):
            yield child


def test_every_error_has_a_code_of_its_own_and_a_meaning():
    import_module("config.urls")
    errors = known_errors()

    used = Counter(error.code for error in kinds_of(DomainError))
    # What is away is one fact, whoever found out.
    assert {code for code, count in used.items() if count > 1} == {"dependency_unavailable"}

    assert all(error["meaning"] and error["status"] >= 400 for error in errors)
    assert {
        "json_duplicate_key": 400,
        "scope_missing": 403,
        "body_too_large": 413,
        "media_type_unsupported": 415,
    }.items() <= {error["code"]: error["status"] for error in errors}.items()
