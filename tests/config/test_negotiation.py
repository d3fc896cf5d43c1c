"""The short way to a renderer leads where DRF's long way does."""

from __future__ import annotations

import json
from typing import NoReturn

import pytest
from django.test import RequestFactory
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, StaticHTMLRenderer
from rest_framework.request import Request

from config.api.answers import answer
from config.api.json import JSONRenderer
from config.api.negotiation import Negotiation

RENDERERS: list[BaseRenderer] = [JSONRenderer(), StaticHTMLRenderer()]


def asking(accept: str | None) -> Request:
    return Request(RequestFactory().get("/", headers={} if accept is None else {"Accept": accept}))


class Unparsed(Negotiation):
    def get_accept_list(self, request: Request) -> NoReturn:
        raise AssertionError(f"Accept was parsed: {request.META.get('HTTP_ACCEPT')}")


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        "application/json",
        "text/html",
        "application/*",
        "application/json; indent=4",
        "text/html, application/json;q=0.9, */*;q=0.1",
    ],
)
@pytest.mark.parametrize("renderers", [RENDERERS, RENDERERS[::-1]])
def test_it_chooses_what_drf_chooses(renderers: list[BaseRenderer], accept: str | None):
    chosen = Negotiation().select_renderer(asking(accept), renderers)

    assert chosen == DefaultContentNegotiation().select_renderer(asking(accept), renderers)


@pytest.mark.parametrize("accept", ["image/png", "", "application/xml;q=0.5"])
def test_what_no_renderer_gives_is_refused(accept: str):
    with pytest.raises(NotAcceptable):
        Negotiation().select_renderer(asking(accept), RENDERERS)


@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
def test_what_nearly_every_client_sends_is_not_parsed(accept: str | None):
    assert Unparsed().select_renderer(asking(accept), RENDERERS) == (RENDERERS[0], "application/json")


def test_an_answer_is_json_with_its_status_and_headers():
    answered = answer({"amount": "10.00"}, status=202, headers={"Retry-After": "1"})

    assert (answered.status_code, json.loads(answered.content)) == (202, {"amount": "10.00"})
    assert answered.headers == {"Content-Type": "application/json", "Retry-After": "1"}
