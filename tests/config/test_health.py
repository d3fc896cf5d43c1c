from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import reverse

from config.api import health
from config.runtime import lines, stopping

pytestmark = pytest.mark.urls("config.urls")

ELSEWHERE = {"REMOTE_ADDR": "203.0.113.9"}


@pytest.fixture
def nowhere(db, monkeypatch) -> Iterator[None]:
    """A database that refuses connections: its pool, of little patience, leads to a port where nobody listens."""
    pooled: Any = connection  # Django's base class does not know pools
    connection.close()
    pooled.close_pool()
    options = connection.settings_dict["OPTIONS"]
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    monkeypatch.setitem(options, "pool", options["pool"] | {"timeout": 1})
    yield
    connection.close()
    pooled.close_pool()


def test_livez_asks_nothing(client: Client):
    # Without the `db` fixture any statement would fail the test.
    answer = client.get("/livez")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_readyz_is_good_on_a_migrated_database(db, client: Client):
    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ok", "parts": {"process": "ok", "database": "ok", "migrations": "ok"}},
    )


def test_readyz_asks_for_migrations_only_until_they_are_good(db, client: Client, django_assert_num_queries):
    client.get("/readyz")

    with django_assert_num_queries(1):
        client.get("/readyz")


def test_readyz_without_database_is_a_503_and_livez_stays_200(nowhere, client: Client):
    answer = client.get("/readyz")

    assert (answer.status_code, answer["Content-Type"]) == (503, "application/problem+json")
    assert answer.json()["code"] == "not_ready"
    assert answer.json()["parts"] == {"process": "ok", "database": "failed", "migrations": "unknown"}
    assert answer["Retry-After"] == "1"
    assert client.get("/livez").status_code == 200


def test_readyz_is_red_for_as_long_as_the_drain_file_is_there(db, client: Client, settings, tmp_path: Path):
    drain = tmp_path / "drain"
    settings.DRAIN_FILE = str(drain)
    assert client.get("/readyz").status_code == 200

    drain.touch()
    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.json()["parts"] == {"process": "draining", "database": "ok", "migrations": "ok"}
    assert client.get("/livez").status_code == 200
    drain.unlink()
    assert client.get("/readyz").status_code == 200


def test_readyz_is_red_once_the_process_has_been_told_to_stop(db, client: Client, monkeypatch):
    monkeypatch.setattr(stopping, "_told", threading.Event())
    assert client.get("/readyz").status_code == 200

    assert [stopping.begin(), stopping.begin()] == [True, False]

    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["parts"]["process"]) == (503, "draining")
    assert client.get("/livez").status_code == 200


def test_from_then_on_every_answer_says_that_the_connection_ends(db, monkeypatch):
    monkeypatch.setattr(stopping, "_told", threading.Event())
    monkeypatch.setattr(lines.OUTPUT, "role", lines.OUTPUT.role)  # the module says that this is a web process
    from config.wsgi import application

    environ = RequestFactory(SERVER_NAME="localhost").get("/livez").environ
    given: list[list[tuple[str, str]]] = []

    for tell in (lambda: False, stopping.begin):
        tell()
        list(application(environ, lambda status, headers, exc_info=None: given.append(headers)))

    assert [("Connection", "close") in headers for headers in given] == [False, True]


def test_health_shows_every_part(db, client: Client):
    answer = client.get("/v2/health")

    document = answer.json()
    assert (answer.status_code, document["status"]) == (200, "ok")
    assert document.keys() == {"status", "release", "uptime_s", "parts"}
    assert {name: part["status"] for name, part in document["parts"].items()} == {
        "database": "ok",
        "migrations": "ok",
        "redis": "ok",
    }


def test_health_is_degraded_and_still_200_when_redis_is_away(db, client: Client, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    document = client.get("/v2/health").json()

    assert document["status"] == "degraded"
    assert document["parts"]["redis"].keys() == {"status", "error", "ms"}
    assert document["parts"]["redis"]["error"] == "RedisAway"
    assert document["parts"]["database"]["status"] == "ok"


def test_health_without_database_tells_no_secrets(nowhere, client: Client):
    answer = client.get("/v2/health")

    assert answer.status_code == 200
    assert answer.json()["parts"]["database"]["status"] == "failed"
    assert b"127.0.0.1" not in answer.content


@pytest.mark.parametrize("accept", ["*/*", "text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"])
def test_metrics_are_prometheus_text_whatever_is_accepted(client: Client, accept: str):
    answer = client.get("/v2/health/metrics", headers={"Accept": accept})

    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    assert b"# TYPE transactions_total counter" in answer.content


def test_pending_migrations_are_not_ready(db, client: Client):
    health._migrated.clear()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE django_migrations (LIKE public.django_migrations)")  # it hides the real one
    try:
        answer = client.get("/readyz")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE pg_temp.django_migrations")

    assert answer.status_code == 503
    assert answer.json()["parts"] == {"process": "ok", "database": "ok", "migrations": "failed"}


@pytest.mark.parametrize("path", ["/v2/health", "/v2/health/metrics"])
@pytest.mark.parametrize(
    "meta",
    [
        ELSEWHERE,
        ELSEWHERE | {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_X_FORWARDED_FOR": "203.0.113.9"},
        {"HTTP_FORWARDED": "for=203.0.113.9"},
        {"HTTP_X_FORWARDED_PROTO": "https"},
        {"HTTP_VIA": "1.1 proxy"},
        {"HTTP_X_REAL_IP": "203.0.113.9"},
        {"REMOTE_ADDR": ""},
        {"REMOTE_ADDR": "::ffff:203.0.113.9"},
    ],
)
def test_from_elsewhere_health_and_metrics_need_a_key(client: Client, path: str, meta: dict[str, Any]):
    answer = client.get(path, **meta)

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_ask_by_address_and_over_plain_http(db, settings, path: str):
    settings.SECURE_SSL_REDIRECT = True

    assert Client().get(path, headers={"Host": "10.1.2.3:8000"}).status_code == 200
    assert Client().get("/v2/health", headers={"Host": "10.1.2.3:8000"}).status_code == 400
    assert reverse(path.strip("/")) == path


@pytest.mark.parametrize("path", ["/v2/health", "/v2/health/metrics"])
def test_health_and_metrics_are_read_over_plain_http(db, settings, path: str):
    settings.SECURE_SSL_REDIRECT = True

    assert Client().get(path).status_code == 200


@pytest.mark.parametrize("path", ["/v2/transactions", "/v2/healthy", "/v2/health/metrics/x", "/api/v1/schema"])
def test_an_api_over_plain_http_is_refused_and_not_redirected(settings, path: str):
    settings.SECURE_SSL_REDIRECT = True

    answer = Client().post(path, b"{}", content_type="application/json")

    assert (answer.status_code, answer.json()["code"]) == (403, "tls_required")
    assert "Location" not in answer


def test_pages_over_plain_http_are_redirected_and_an_api_over_tls_is_served(settings):
    settings.SECURE_SSL_REDIRECT = True

    assert Client().get("/docs")["Location"] == "https://testserver/docs"
    assert Client().get("/v2/transactions", secure=True).json()["code"] == "unauthenticated"


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_take_only_get_and_head(db, client: Client, path: str):
    assert client.head(path).status_code == 200
    assert client.post(path).status_code == 405
