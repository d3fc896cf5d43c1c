"""The short cut: what an API request passes by, and what it is still given."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import Client
from django.utils.module_loading import import_string

from config.api.handler import APIS
from config.api.headers import SAFE


@pytest.fixture
def seen(monkeypatch) -> list[str]:
    """Give the names of the page middleware that were asked."""
    asked: list[str] = []

    def spy(path: str):
        whole = import_string(path)

        def make(get_response):
            inner = whole(get_response)

            def answer(request):
                asked.append(path)
                return inner(request)

            return answer

        return make

    monkeypatch.setattr(
        "django.core.handlers.base.import_string", lambda path: spy(path) if path in PAGE else import_string(path)
    )
    return asked


PAGE = settings.PAGE_MIDDLEWARE


@pytest.mark.parametrize("path", [f"{prefix}nothing" for prefix in APIS])
def test_an_api_request_passes_by_what_only_pages_need(seen, path):
    assert Client().get(path).status_code == 404
    assert seen == []


def test_a_page_goes_through_all_of_it(seen):
    Client().get("/admin/login/")

    assert seen == PAGE


@pytest.mark.parametrize("path", ["/v2/nothing", "/v2/transactions", "/docs/nothing"])
def test_every_answer_has_safe_headers_and_its_length(path):
    answer = Client().get(path)

    # A refusal may not even be kept.
    assert {name: answer.headers[name] for name in SAFE} == SAFE | {"Cache-Control": "no-store"}
    assert answer.headers["Content-Length"] == str(len(answer.content))


def test_a_page_keeps_the_policy_that_it_says_itself():
    assert "script-src" in Client().get("/v2/docs").headers["Content-Security-Policy"]
    assert "form-action 'self'" in Client().get("/admin/login/").headers["Content-Security-Policy"]


def test_an_api_is_asked_by_a_name_of_ours_alone():
    answer = Client(raise_request_exception=False).get("/v2/transactions", headers={"Host": "elsewhere.example"})

    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


def test_over_tls_browsers_are_told_to_stay_there(settings):
    settings.SECURE_HSTS_SECONDS = 60

    answers = {secure: Client().get("/v2/nothing", secure=secure).headers for secure in (True, False)}

    assert answers[True]["Strict-Transport-Security"] == "max-age=60; includeSubDomains; preload"
    assert "Strict-Transport-Security" not in answers[False]
