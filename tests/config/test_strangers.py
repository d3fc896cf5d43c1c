"""Who asks without a key: counted by address, and refused for a while."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as configured
from django.test import Client

pytestmark = pytest.mark.urls("config.urls")
PER_MINUTE = 5


@pytest.fixture(autouse=True)
def _few(settings: Any) -> None:
    settings.STRANGERS_PER_MINUTE = PER_MINUTE


@pytest.fixture
def network() -> str:
    """A /64 that no other test comes from."""
    part = uuid4().hex
    return f"2001:db8:{part[:4]}:{part[4:8]}"


def ask(network: str, path: str, **headers: Any) -> list[Any]:
    """Ask from as many addresses as it takes: a minute may end in between, and give as many more."""
    client = Client(headers=headers)
    return [client.get(path, REMOTE_ADDR=f"{network}::{number}") for number in range(2 * PER_MINUTE + 1)]


def statuses(network: str, path: str, **headers: Any) -> list[int]:
    return [answer.status_code for answer in ask(network, path, **headers)]


@pytest.mark.parametrize("path", ["/v2/accounts", "/v2/unknown", "/v2/schema", "/api/v1/docs", "/docs/errors"])
def test_a_network_is_refused_when_it_has_asked_too_often_and_no_other_is(db, network: str, path: str):
    answers = ask(network, path)

    assert 429 not in [answer.status_code for answer in answers[:PER_MINUTE]]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert (refused["Content-Type"], refused.json()["code"]) == ("application/problem+json", "rate_limited")
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert Client().get(path, REMOTE_ADDR=f"198.51.100.{uuid4().int % 254}").status_code != 429


def test_the_documents_look_at_no_key(network: str):
    assert 429 in statuses(network, "/v2/schema", Authorization="Bearer anything")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/v2/health", "/v2/health/metrics", "/admin/login/"])
def test_monitors_and_staff_are_not_counted(db, network: str, path: str):
    assert 429 not in statuses(network, path)


def test_a_wrong_key_is_for_the_authenticator_to_count(db, network: str):
    assert set(statuses(network, "/v2/accounts", Authorization="Basic x")) == {401}


def test_nobody_is_counted_while_redis_is_away(settings: Any, network: str):
    settings.CACHES = {"default": configured.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}}

    assert set(statuses(network, "/v2/schema")) == {200}
