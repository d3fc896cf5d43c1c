from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.test import Client
from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema

from tests.config import routes

ROOT = Path(__file__).parents[2]
STYLE_OR_SCRIPT = re.compile(r"""(?:src|href|url)\s*[=(:]\s*["']?((?:https?:)?//[^"')\s]+)""")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document of the test routes, as a client reads it."""
    generated = SchemaGenerator(urlconf="tests.config.routes", api_version="v2").get_schema(public=True)
    as_read: dict[str, Any] = json.loads(json.dumps(generated))
    return as_read


def test_structs_are_components_and_refer_to_each_other(document: dict[str, Any]):
    schemas = document["components"]["schemas"]

    assert schemas["Order"]["properties"]["items"] == {"type": "array", "items": {"$ref": "#/components/schemas/Item"}}
    assert schemas["Order"]["required"] == ["items"]
    assert schemas["Order"]["additionalProperties"] is False
    assert schemas["OrderOut"]["properties"]["id"] == {"type": "string", "format": "uuid"}
    assert set(schemas["OrderOutPage"]["properties"]) == {"data", "next_cursor", "prev_cursor", "count"}
    assert "count" not in schemas["OrderOutPage"]["required"]


def test_every_reference_leads_somewhere(document: dict[str, Any]):
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))):
        place: Any = document
        for step in reference.split("/"):
            place = place[step]


def test_a_post_documents_body_headers_scope_and_problems(document: dict[str, Any]):
    operation = document["paths"]["/v2/orders"]["post"]

    assert operation["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Order"}
    assert operation["security"] == [{"bearer": ["orders:write"]}]
    headers = {p["name"]: p.get("required", False) for p in operation["parameters"] if p["in"] == "header"}
    assert headers == {"Idempotency-Key": True, "Prefer": False}
    assert list(operation["responses"]) == [
        "201", "400", "401", "403", "406", "409", "411", "413", "415", "422", "429", "500", "503"
    ]  # fmt: skip
    assert operation["responses"]["422"] == {"$ref": "#/components/responses/Problem422"}
    answered = {"Idempotent-Replayed", "Preference-Applied", "X-Request-ID", "RateLimit", "RateLimit-Policy"}
    assert operation["responses"]["201"]["headers"].keys() == answered


def test_a_list_documents_its_filters_and_paging(document: dict[str, Any]):
    operation = document["paths"]["/v2/orders"]["get"]

    parameters = {p["name"]: p["schema"] for p in operation["parameters"]}
    assert parameters["limit"] == {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
    assert parameters["at__gte"] == {"type": "string", "format": "date-time"}
    assert parameters["color__in"] == {
        "type": "array",
        "items": {"type": "string", "enum": ["red", "blue"]},
        "minItems": 1,
        "maxItems": 100,
    }
    assert parameters.keys() == {"limit", "cursor", "count", "color", "color__in", "at__gte", "odd", "id__lt"}
    assert "requestBody" not in operation
    assert not {"404", "409", "413", "415", "422"} & operation["responses"].keys()


def test_an_operation_on_one_object_may_not_find_it(document: dict[str, Any]):
    assert "404" in document["paths"]["/v2/orders/{id}"]["get"]["responses"]


def test_what_is_read_has_an_etag_and_may_be_asked_for_conditionally(document: dict[str, Any]):
    responses = document["paths"]["/v2/orders/{id}"]["get"]["responses"]

    assert responses["200"]["headers"]["ETag"] == {"$ref": "#/components/headers/ETag"}
    assert responses["304"] == {"$ref": "#/components/responses/NotModified"}
    assert "412" in responses
    assert "412" not in document["paths"]["/v2/orders"]["post"]["responses"]


def test_a_public_operation_needs_no_key(document: dict[str, Any]):
    operation = document["paths"]["/v2/fail/{kind}"]["get"]

    assert operation["security"] == [{}]
    assert not {"401", "403"} & operation["responses"].keys()
    assert operation["responses"]["200"]["headers"].keys() == {"X-Request-ID", "ETag"}


def test_problems_say_their_media_type_and_when_to_retry(document: dict[str, Any]):
    responses, headers = document["components"]["responses"], document["components"]["headers"]

    assert headers["Retry-After"]["schema"] == {"type": "integer", "minimum": 1}
    assert "Retry-After" not in responses["Problem422"]["headers"]
    problems = [response for name, response in responses.items() if name.startswith("Problem")]
    assert all(list(response["content"]) == ["application/problem+json"] for response in problems)
    assert responses["Problem429"]["headers"].keys() == {"X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After"}
    assert responses["Problem401"]["headers"].keys() == {"X-Request-ID", "WWW-Authenticate"}
    assert document["components"]["securitySchemes"] == {"bearer": {"type": "http", "scheme": "bearer"}}


@pytest.mark.urls("config.urls")
class TestServed:
    def test_each_version_has_a_document_of_its_own_paths(self, client: Client):
        v1 = client.get("/api/v1/schema").json()
        v2 = client.get("/v2/schema").json()

        assert all(path.startswith("/api/v1/") for path in v1["paths"])
        assert all(path.startswith("/v2/") for path in v2["paths"])
        assert {"/v2/health", "/v2/health/metrics"} <= v2["paths"].keys()
        assert (v1["info"]["version"], v2["info"]["version"]) == ("1.0.0", "2.0.0")

    def test_a_document_is_not_sent_twice_to_who_has_it(self, client: Client):
        first = client.get("/v2/schema")
        second = client.get("/v2/schema", headers={"If-None-Match": first["ETag"]})

        assert (first.status_code, second.status_code, second.content) == (200, 304, b"")

    @pytest.mark.parametrize("address", ["/v2/docs", "/api/v1/docs", "/redoc", "/docs/errors"])
    def test_a_page_loads_nothing_from_elsewhere(self, client: Client, address: str):
        answer = client.get(address, headers={"Accept": "text/html"})
        page = answer.content.decode()

        assert answer.status_code == 200
        assert STYLE_OR_SCRIPT.findall(page) == []
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
            with closing(client.get(asset)) as served:
                assert served.status_code == 200

    def test_docs_leads_to_the_newest_version(self, client: Client):
        answer = client.get("/docs")

        assert (answer.status_code, answer["Location"]) == (302, "/v2/docs")

    def test_the_type_of_a_problem_leads_to_its_explanation(self, client: Client):
        kind = client.get("/v2/nowhere").json()["type"]
        address, _, anchor = kind.partition("#")

        page = client.get(address, headers={"Accept": "text/html"}).content.decode()

        assert f'<tr id="{anchor}">' in page
        assert '<tr id="field_missing">' in page

    def test_the_list_of_errors_is_there_for_machines(self, client: Client):
        listed = client.get("/docs/errors", headers={"Accept": "application/json"}).json()

        assert {
            name: value
            for error in listed["errors"]
            if error["code"] == "json_too_deep"
            for name, value in error.items()
            if name != "meaning"
        } == {"code": "json_too_deep", "kind": "malformed", "status": 400}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_committed_document_is_the_one_that_is_served(version: str):
    """In a process of its own: here stand errors that tests have made up."""
    made = subprocess.run(
        [sys.executable, "manage.py", "describe_api", version], cwd=ROOT, capture_output=True, text=True, check=True
    )

    committed = (ROOT / f"docs/reference/openapi-{version}.json").read_text()
    assert made.stdout == committed, (
        f"python3 dev.py manage describe_api {version} > docs/reference/openapi-{version}.json"
    )


def test_a_refusal_names_every_code_that_it_may_have():
    components = json.loads((ROOT / "docs/reference/openapi-v2.json").read_text())["components"]

    def codes(status: int) -> list[str]:
        _, narrowed = components["schemas"][f"Problem{status}"]["allOf"]
        found: list[str] = narrowed["properties"]["code"]["enum"]
        return found

    assert {"insufficient_funds", "account_frozen"} <= set(codes(409))
    assert "insufficient_funds" not in codes(422)
    assert "precondition_failed" in codes(412)
    assert "json_too_deep" in codes(400)


def test_two_structs_of_one_name_are_noticed(capsys: pytest.CaptureFixture[str]):
    other_item = msgspec.defstruct("Item", [("other", int)])
    outer = msgspec.defstruct("Outer", [("item", other_item)])

    class Views(routes.Owned):
        required_scopes = {"POST": "x", "GET": "x"}

        @extend_schema(request=routes.Order, responses=outer)
        def post(self) -> None: ...

    generator = SchemaGenerator(patterns=[path("v2/x", Views.as_view(versioning_class=None))], api_version="v2")
    generator.get_schema(public=True)

    assert '2 components with identical names "Item"' in capsys.readouterr().err


def test_one_struct_in_two_places_is_one_component(capsys: pytest.CaptureFixture[str], document: dict[str, Any]):
    SchemaGenerator(urlconf="tests.config.routes", api_version="v2").get_schema(public=True)

    assert "identical names" not in capsys.readouterr().err
