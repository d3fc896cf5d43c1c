"""Answers in fewer bytes: by the client's qualities, only where it pays, never where a secret is in them."""

from __future__ import annotations

import gzip
import json

import brotli  # type: ignore[import-untyped]  # it ships no types
import pytest
from backports import zstd
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client
from django.urls import path

from config.api.compression import SIZE_MIN

LARGE = json.dumps([{"n": number, "text": "the same again and again"} for number in range(200)]).encode()
READ = {"gzip": gzip.decompress, "br": brotli.decompress, "zstd": zstd.decompress}


def told(request: HttpRequest, kind: str) -> HttpResponse:
    size = int(request.GET.get("size", len(LARGE)))
    return HttpResponse(LARGE[:size], content_type=kind)


def secret(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(LARGE, content_type="application/json", headers={"Cache-Control": "no-store"})


def streamed(_request: HttpRequest) -> StreamingHttpResponse:
    pieces = [LARGE[place : place + 1000] for place in range(0, len(LARGE), 1000)]
    return StreamingHttpResponse(pieces, content_type="application/x-ndjson")


urlpatterns = [
    path("v2/told/<path:kind>", told),
    path("v2/secret", secret),
    path("v2/streamed", streamed),
]


@pytest.fixture
def browser(settings) -> Client:
    settings.ROOT_URLCONF = __name__
    return Client()


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("br;q=0, gzip;q=0.1", "gzip"),
        ("gzip;q=0", None),
        ("identity", None),
        ("*;q=0", None),
        ("", None),
        ("compress, nonsense;q=x", None),
        ("gzip," * 1000, None),
    ],
)
def test_the_clients_qualities_decide(browser, accepted, coding):
    answer = browser.get("/v2/told/application/json", headers={"Accept-Encoding": accepted})

    assert answer.headers.get("Content-Encoding") == coding
    assert READ.get(coding, bytes)(answer.content) == LARGE
    assert answer["Content-Length"] == str(len(answer.content))
    assert "Accept-Encoding" in answer["Vary"]


@pytest.mark.parametrize("kind", ["application/json", "application/problem+json", "application/x-ndjson", "text/csv"])
def test_text_is_compressed(browser, kind):
    assert "Content-Encoding" in browser.get(f"/v2/told/{kind}", headers={"Accept-Encoding": "gzip"}).headers


@pytest.mark.parametrize("kind", ["application/vnd.apache.parquet", "application/gzip", "image/png"])
def test_what_is_compressed_already_is_left_alone(browser, kind):
    answer = browser.get(f"/v2/told/{kind}", headers={"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in answer.headers
    assert "Vary" not in answer.headers


@pytest.mark.parametrize(("size", "is_compressed"), [(SIZE_MIN - 1, False), (SIZE_MIN, True)])
def test_what_is_small_stays_as_it_is(browser, size, is_compressed):
    answer = browser.get(f"/v2/told/application/json?size={size}", headers={"Accept-Encoding": "gzip"})

    assert ("Content-Encoding" in answer.headers) is is_compressed


def test_a_secret_is_never_compressed(browser):
    answer = browser.get("/v2/secret", headers={"Accept-Encoding": "gzip, br, zstd"})

    assert (answer.content, "Content-Encoding" in answer.headers) == (LARGE, False)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_a_stream_is_compressed_as_it_flows(browser, coding):
    answer = browser.get("/v2/streamed", headers={"Accept-Encoding": coding})

    assert answer["Content-Encoding"] == coding
    assert "Content-Length" not in answer.headers
    whole = b"".join(answer.streaming_content)
    assert (gzip.decompress(whole) if coding == "gzip" else _decompressed(coding, whole)) == LARGE


def test_equal_answers_have_no_equal_lengths(browser):
    """The padding against BREACH."""
    asked = [browser.get("/v2/told/application/json", headers={"Accept-Encoding": "gzip"}) for _ in range(20)]

    assert len({len(answer["X-Noise"]) for answer in asked}) > 1


def test_what_the_client_has_already_is_not_sent_again(browser):
    first = browser.get("/v2/told/application/json")
    compressed = browser.get("/v2/told/application/json", headers={"Accept-Encoding": "gzip"})

    assert compressed["ETag"] == f"W/{first['ETag']}"
    for known in (first["ETag"], compressed["ETag"], f'"other", {first["ETag"]}', "*"):
        again = browser.get("/v2/told/application/json", headers={"If-None-Match": known, "Accept-Encoding": "gzip"})
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
        assert "Content-Length" not in again.headers
    changed = browser.get("/v2/told/application/json?size=2000", headers={"If-None-Match": first["ETag"]})
    assert (changed.status_code, len(changed.content)) == (200, 2000)


def test_who_wants_another_state_than_there_is_gets_412(browser):
    first = browser.get("/v2/told/application/json")

    assert browser.get("/v2/told/application/json", headers={"If-Match": first["ETag"]}).status_code == 200
    refused = browser.get("/v2/told/application/json", headers={"If-Match": '"another"'})
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert refused["Content-Type"] == "application/problem+json"


def test_a_secret_has_no_etag(browser):
    assert "ETag" not in browser.get("/v2/secret").headers


def _decompressed(coding: str, data: bytes) -> bytes:
    return brotli.decompress(data) if coding == "br" else zstd.decompress(data)
