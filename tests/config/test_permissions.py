from __future__ import annotations

from uuid import UUID

import pytest
from django.http import HttpRequest
from django.test import Client
from rest_framework.request import Request

from config import urls as real_urls
from config.api.permissions import undeclared_scopes
from config.api.principal import NotForUsers, Principal, caller_of, principal_of
from tests.config import routes

pytestmark = pytest.mark.urls("tests.config.routes")


def key(scopes: str) -> dict[str, str]:
    return {"Authorization": f"Bearer 1:{scopes}"}


def test_the_scope_lets_in(client: Client):
    assert client.post("/v2/echo", {}, content_type="application/json", headers=key("echo:write")).status_code == 201


@pytest.mark.parametrize("scopes", ["", "echo", "echo:read", "echo:write:all", "ECHO:WRITE", "*"])
def test_another_scope_does_not_and_the_answer_names_the_one_needed(client: Client, scopes: str):
    answer = client.post("/v2/echo", {}, content_type="application/json", headers=key(scopes))

    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    assert answer.json()["scope"] == "echo:write"


@pytest.mark.parametrize("path", ["/v2/undeclared", "/v2/orders/forgotten"])
def test_an_operation_that_declares_no_scope_is_open_to_nobody(client: Client, path: str):
    answer = client.get(path, headers=key("echo:write,orders:read"))

    assert (answer.status_code, answer.json()["code"]) == (403, "scope_undeclared")
    assert b"secret" not in answer.content


def test_each_action_of_a_viewset_has_its_own_scope(client: Client):
    path = "/v2/orders/00000000-0000-0000-0000-000000000001"

    assert client.get(path, headers=key("orders:read")).status_code == 404
    assert client.get(path, headers=key("orders:write")).status_code == 403
    assert client.head(path, headers=key("orders:read")).status_code == 404


def test_nobody_learns_methods_without_a_key(client: Client):
    assert client.delete("/v2/echo").status_code == 401
    assert client.delete("/v2/echo", headers=key("echo:write")).status_code == 405


@pytest.mark.parametrize("path", ["/v2/echo", "/v2/orders", "/v2/undeclared"])
def test_options_is_a_method_that_nothing_takes(client: Client, path: str):
    answer = client.options(path, headers=key("echo:write"))

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert client.options(path).status_code == 401


def test_the_check_finds_operations_without_scope():
    assert undeclared_scopes(routes.urlpatterns) == [
        "tests.config.routes.Orders.forgotten",
        "tests.config.routes.Undeclared.GET",
    ]


def test_every_operation_of_the_service_declares_its_scope():
    assert undeclared_scopes(real_urls.urlpatterns) == []


def test_a_view_that_is_open_to_users_by_mistake_is_told_of_no_client():
    request = Request(HttpRequest())
    request.auth = Principal(
        client_id=1,
        client_public_id=UUID(int=1),
        client_name="bank",
        tier="internal",
        key_id="TEST",
        scopes=frozenset({"accounts:read"}),
        user_id="alice",
    )

    with pytest.raises(NotForUsers):
        principal_of(request)
    assert caller_of(request).user_id == "alice"
