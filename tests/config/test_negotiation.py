"""The renderer that the client wants most; nearly every client is not even asked."""

from __future__ import annotations

import json
from typing import NoReturn

import pytest
from django.test import RequestFactory
from rest_framework.exceptions import NotAcceptable
from rest_framework.renderers import BaseRenderer, StaticHTMLRenderer
from rest_framework.request import Request

from config.api.answers import answer
from config.api.json import JSONRenderer
from config.api.negotiation import Negotiation

JSON, HTML = JSONRenderer(), StaticHTMLRenderer()
RENDERERS: list[BaseRenderer] = [JSON, HTML]


def asking(accept: str | None) -> Request:
    return Request(RequestFactory().get("/", headers={} if accept is None else {"Accept": accept}))


class Unparsed(Negotiation):
    def get_accept_list(self, request: Request) -> NoReturn:
        raise AssertionError(f"Accept was parsed: {request.META.get('HTTP_ACCEPT')}")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("text/html", HTML),
        ("TEXT/HTML", HTML),
        ("application/*", JSON),
        ("application/json; indent=4", JSON),
        ("text/html, application/json;q=0.9, */*;q=0.1", HTML),
        ("text/html;q=0.8, application/json;q=0.9", JSON),
        ("text/html;q=0.8, application/json;q=0.8", JSON),
        ("text/*, application/json;q=0.9", HTML),
        ("application/json;q=0, */*", HTML),
        ("application/json;q=0.2, */*;q=0.5", HTML),
        ("image/png, */*;q=0.1", JSON),
    ],
)
def test_what_is_wanted_most_answers(accept: str | None, chosen: BaseRenderer):
    assert Negotiation().select_renderer(asking(accept), RENDERERS) == (chosen, chosen.media_type)


@pytest.mark.parametrize("accept", ["image/png", "", "application/xml;q=0.5", "application/json;q=0, text/html;q=0.0"])
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
