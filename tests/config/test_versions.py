"""v1 says on every answer that it ends, when, and where to go on; v2 does not."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

import pytest
from django.core.checks import run_checks
from django.test import Client
from django.urls import include, path
from drf_spectacular.generators import SchemaGenerator

from config import urls
from config.api import docs
from config.api.versions import GUIDE
from tests.config.routes import Orders

handler400, handler403, handler404, handler500 = (
    f"config.api.problems.{name}" for name in ("bad_request", "permission_denied", "not_found", "server_error")
)
KEY = {"Authorization": "Bearer 1:orders:read"}
ORDER = UUID(int=7)

orders = [
    path("orders", Orders.as_view({"get": "list", "post": "create"}), name="order-list"),
    path("orders/<uuid:pk>", Orders.as_view({"get": "retrieve"}), name="order"),
]
v1 = [*urls.v1, *orders, path("orders/<uuid:pk>/legacy", Orders.as_view({"get": "retrieve"}), name="order-legacy")]
urlpatterns = [
    path("api/v1/", include((v1, "v1"))),
    path("v2/", include(([*urls.v2, *orders], "v2"))),
    path("docs/errors", docs.errors, name="errors"),
    path("docs/migrate-v1-v2", docs.migration, name="migration"),
]
pytestmark = pytest.mark.urls(__name__)


def links_of(answer: Any) -> dict[str, str]:
    found = re.findall(r'<([^>]+)>; rel="([a-z-]+)"', answer["Link"])
    assert answer["Link"] == ", ".join(f'<{url}>; rel="{relation}"' for url, relation in found)
    return {relation: url for url, relation in found}


ANSWERS: dict[str, tuple[str, str, dict[str, str], int]] = {
    "a document": ("GET", "/api/v1/schema", {}, 200),
    "what has not changed": ("GET", "/api/v1/schema", {"If-None-Match": "*"}, 304),
    "a page": ("GET", "/api/v1/docs", {}, 200),
    "an unknown route": ("GET", "/api/v1/nothing", {}, 404),
    "an unknown object": ("GET", f"/api/v1/orders/{ORDER}", KEY, 404),
    "no key": ("GET", "/api/v1/orders", {}, 401),
    "no scope": ("GET", "/api/v1/orders", {"Authorization": "Bearer 1:none"}, 403),
    "a wrong method": ("DELETE", "/api/v1/orders", KEY, 405),
    "a type that is not given": ("GET", "/api/v1/orders", KEY | {"Accept": "text/html"}, 406),
    "a wrong parameter": ("GET", "/api/v1/orders?nothing=1", KEY, 400),
    "a host that is not ours": ("GET", "/api/v1/schema", {"Host": "elsewhere"}, 400),
    "a body without length": ("POST", "/api/v1/orders", {"Transfer-Encoding": "chunked"}, 411),
}


@pytest.mark.parametrize(("method", "url", "headers", "status"), ANSWERS.values(), ids=ANSWERS)
def test_every_answer_of_v1_says_when_it_ends(method: str, url: str, headers: dict[str, str], status: int) -> None:
    answer = Client().generic(method, url, headers=headers)

    assert answer.status_code == status
    assert answer["Deprecation"] == f"@{int(datetime(2026, 12, 1, tzinfo=UTC).timestamp())}"
    assert parsedate_to_datetime(answer["Sunset"]) == datetime(2027, 12, 1, tzinfo=UTC)
    assert links_of(answer).keys() == {"deprecation", "sunset", "successor-version"}


@pytest.mark.parametrize("url", ["/v2/schema", "/v2/docs", "/v2/nothing", "/v2/orders", "/docs/errors", GUIDE])
def test_nothing_else_says_so(url: str) -> None:
    assert not {"Deprecation", "Sunset", "Link"} & Client().get(url).headers.keys()


@pytest.mark.parametrize(
    ("url", "successor"),
    [
        ("/api/v1/schema", "/v2/schema"),
        ("/api/v1/docs", "/v2/docs"),
        ("/api/v1/orders?color=red", "/v2/orders"),
        (f"/api/v1/orders/{ORDER}", f"/v2/orders/{ORDER}"),
        (f"/api/v1/orders/{ORDER}/legacy", "/v2/schema"),
        ("/api/v1/nothing", "/v2/schema"),
    ],
)
def test_the_successor_is_the_route_of_the_same_name_in_v2(url: str, successor: str) -> None:
    links = links_of(Client().get(url))

    assert links["successor-version"] == successor


def test_the_guide_is_there() -> None:
    links = links_of(Client().get("/api/v1/schema"))
    guide = Client().get(links["deprecation"])

    assert links["deprecation"] == links["sunset"] == GUIDE
    assert (guide.status_code, guide["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert guide.content.startswith(b"# From v1 to v2")


def test_the_days_are_settings(settings: Any) -> None:
    settings.V1_DEPRECATED_ON, settings.V1_SUNSET_ON = date(2024, 2, 29), date(2030, 1, 1)

    answer = Client().get("/api/v1/schema")

    assert (answer["Deprecation"], answer["Sunset"]) == ("@1709164800", "Tue, 01 Jan 2030 00:00:00 GMT")


@pytest.mark.parametrize(("sunset", "errors"), [(30, ["countinghouse.E003"]), (1, ["countinghouse.E003"]), (2, [])])
def test_a_sunset_that_does_not_follow_the_deprecation_is_an_error(
    settings: Any, sunset: int, errors: list[str]
) -> None:
    settings.V1_DEPRECATED_ON = date(2026, 12, 1)
    settings.V1_SUNSET_ON = date(2026, 12 if sunset < 30 else 11, sunset)

    assert [error.id for error in run_checks() if error.id == "countinghouse.E003"] == errors


def test_the_document_of_v1_says_so_of_every_operation() -> None:
    document = SchemaGenerator(api_version="v1", patterns=urlpatterns).get_schema(public=True)
    ending = {"Deprecation", "Sunset", "Link"}

    assert document["paths"].keys() == {
        "/api/v1/orders",
        "/api/v1/orders/{id}",
        "/api/v1/orders/{id}/legacy",
    }
    assert ending <= document["components"]["headers"].keys()
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["deprecated"] is True
            for response in operation["responses"].values():
                named = response.get("$ref", "").rpartition("/")[2]
                shown = document["components"]["responses"][named] if named else response
                assert ending <= shown["headers"].keys()
    assert not ending & SchemaGenerator(api_version="v2").get_schema(public=True)["components"]["headers"].keys()
