"""The admin's login: what it takes from strangers, and how often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as configured
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.checks import run_checks
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.urls("config.urls")
LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a password takes is not asked here."""
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 1)


@pytest.fixture
def address() -> str:
    """An address that no other test comes from."""
    part = uuid4().hex
    return f"2001:db8:{part[:4]}:{part[4:8]}::1"


def attempt(address: str, name: str) -> Any:
    return Client().post(LOGIN, {"username": name, "password": "wrong"}, REMOTE_ADDR=address)


def until_refused(address: str, name: Callable[[], str]) -> Any:
    """Attempt again where a minute has ended in between and given ten more."""
    answers = (attempt(address, name()) for _ in range(11))
    return next(answer for answer in answers if answer.status_code != 200)


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain"]
)
def test_a_form_of_ten_megabytes_is_refused(content_type: str):
    form = (
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + b"a" * 10_000_000 + b"\r\n--b--\r\n"
    )

    answer = Client(raise_request_exception=False).generic("POST", LOGIN, form, content_type=content_type)

    assert answer.status_code == 400
    assert answer["Content-Type"].startswith("text/html")


def test_an_api_s_body_may_be_larger_than_a_form():
    assert configured.DATA_UPLOAD_MAX_MEMORY_SIZE < 4_000_000

    answer = Client().post("/v2/transactions", b"x" * 4_000_000, content_type="application/json")

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_ten_attempts_a_minute_for_an_address_whatever_the_names(db, address: str):
    answers = [attempt(address, uuid4().hex) for _ in range(10)]
    assert [answer.status_code for answer in answers] == [200] * 10

    refused = until_refused(address, lambda: uuid4().hex)

    assert (refused.status_code, refused["Retry-After"]) == (429, "60")
    assert b"Too many attempts" in refused.content
    assert Client().get(LOGIN, REMOTE_ADDR=address).status_code == 200


def test_behind_a_proxy_each_client_has_attempts_of_its_own(db, settings, address: str):
    settings.TRUSTED_PROXIES = 1

    def through_the_proxy(client: str) -> int:
        form = {"username": uuid4().hex, "password": "wrong"}
        sent: Any = {"HTTP_X_FORWARDED_FOR": f"{uuid4().hex}, {client}", "REMOTE_ADDR": "10.0.0.9"}
        return Client().post(LOGIN, form, **sent).status_code

    assert 429 in [through_the_proxy(address) for _ in range(21)]
    assert through_the_proxy(f"198.51.100.{uuid4().int % 254}") == 200


def test_ten_attempts_a_minute_for_a_name_whatever_the_addresses(db):
    name = uuid4().hex
    for number in range(10):
        assert attempt(f"2001:db8:{uuid4().hex[:4]}:{number}::1", name).status_code == 200

    assert until_refused("2001:db8:aaaa:1::1", lambda: f" {name.upper()}").status_code == 429


def test_staff_logs_in_while_redis_is_away(db, settings, address: str):
    settings.CACHES = {"default": configured.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}}

    assert [attempt(address, "staff").status_code for _ in range(12)] == [200] * 12


def test_the_checks_of_the_limiter_are_content_and_the_address_keeps_its_name():
    assert [check for check in run_checks() if str(check.id).startswith("django_ratelimit")] == []
    assert reverse("admin:login") == LOGIN
