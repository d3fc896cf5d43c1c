from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import msgspec
import pytest
from django.test import Client
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as some

from config.api.decoding import Body, decode
from config.api.encoding import encode
from config.api.json import JsonRefused, parse_strict
from config.runtime.clock import rfc3339
from config.runtime.errors import Invalid

KEY = {"Authorization": "Bearer 1:echo:write,orders:write"}


@pytest.mark.parametrize(
    ("body", "code", "position"),
    [
        (b"", "json_invalid", 0),
        (b"{", "json_invalid", 1),
        (b"[1,]", "json_invalid", 3),
        (b"{'a': 1}", "json_invalid", 1),
        (b"[1] [2]", "json_invalid", 4),
        (b'["\n"]', "json_invalid", 2),
        (b"[01]", "json_invalid", 2),
        (b"[+1]", "json_invalid", 1),
        (b'["\xff"]', "json_not_utf8", 2),
        (b'["\xed\xa0\x80"]', "json_not_utf8", 2),
        (b"\xef\xbb\xbf[]", "json_not_utf8", 0),
        ("[]".encode("utf-16"), "json_not_utf8", 0),
        (b'{"a": 1, "b": 2, "a": 3}', "json_duplicate_key", 17),
        (b'{"a": 1, "\\u0061": 3}', "json_duplicate_key", 9),
        (b'{"x": "a\\"a", "l": [{"a": [], "a": {}}]}', "json_duplicate_key", 30),
        (b'["\0"]', "json_nul", 2),
        (b'["a\\u0000"]', "json_nul", 3),
        (b'{"\\u0000": 1}', "json_nul", 2),
        (b'["\\ud83d"]', "json_surrogate", 2),
        (b'["\\ud83dx\\ude00"]', "json_surrogate", 2),
        (b'["\\uDE00\\uD83D"]', "json_surrogate", 2),
        (b"[1, NaN]", "json_number", 4),
        (b"[-Infinity]", "json_number", 1),
        (b'["1e999", 1e999]', "json_number", 10),
        (b"[1e99999999999999999999]", "json_number", 1),
        (b"[0e99999999999999999999]", "json_number", 1),
        (b"[" + b"9" * 65 + b"]", "json_number", 1),
        (b"[1." + b"0" * 70 + b"]", "json_number", 1),
        (b"[" * 33 + b"]" * 33, "json_too_deep", 32),
        (b'{"[[": ' + b"[" * 32 + b"]" * 32 + b"}", "json_too_deep", 38),
        (b'{"a":' * 1000, "json_too_deep", 160),
        (b'["\\"", "[[[", ' + b"[" * 32 + b"]" * 33, "json_too_deep", 45),
    ],
)
def test_what_two_parsers_could_read_differently_is_refused_at_its_place(body: bytes, code: str, position: int):
    with pytest.raises(JsonRefused) as refused:
        parse_strict(body)

    assert (refused.value.code, refused.value.fields["position"]) == (code, position)
    assert refused.value.kind == "malformed"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" * 1_000_000, "json_too_deep"),
        (b"[" + b"1," * 100_000 + b"NaN]", "json_number"),
        (b'{"a":1,' + b'"b":[0],' * 20_000 + b'"a":2}', "json_duplicate_key"),
    ],
)
def test_a_large_hostile_body_is_refused_without_a_second_reading(body: bytes, code: str):
    with pytest.raises(JsonRefused) as refused:
        parse_strict(body)

    assert (refused.value.code, refused.value.fields) == (code, {})


def test_a_refused_duplicate_is_named():
    with pytest.raises(JsonRefused, match=r"names the key 'amount' twice\.$"):
        parse_strict(b'{"to": 1, "amount": 1, "amount": 2}')


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b' {"a": [1, -2, true, null]}\r\n', {"a": [1, -2, True, None]}),
        (b"12345678901234567.89", Decimal("12345678901234567.89")),
        (b"[1.0, 1e2, -0.5]", [Decimal("1.0"), Decimal("1E+2"), Decimal("-0.5")]),
        (b"9007199254740993", 9007199254740993),
        (b"9" * 64, int("9" * 64)),
        (b'["\\\\u0000", "\\\\ud83d", "\\ud83d\\ude00", "\\u00e9"]', ["\\u0000", "\\ud83d", "\U0001f600", "é"]),
        (b"[" * 32 + b"]" * 32, json.loads("[" * 32 + "]" * 32)),
        (b'["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "\\"{{{{{{{{{"]', ["[" * 40, '"{{{{{{{{{']),
        (b"[" + b",".join([b"[]"] * 100) + b"]", [[]] * 100),
        (b'["[","]","[[[[[[[[[[[[[[[[[[[[[[","","[[[[[[[[[[[[[[[["]', ["[", "]", "[" * 22, "", "[" * 16]),
    ],
)
def test_what_is_plain_json_is_read_exactly(body: bytes, value: object):
    parsed = parse_strict(body)

    assert parsed == value
    assert repr(parsed) == repr(value)


@given(
    some.recursive(
        some.none()
        | some.booleans()
        | some.integers(-(10**60), 10**60)
        | some.text(some.characters(exclude_categories=["Cs"])),
        lambda inner: (
            some.lists(inner) | some.dictionaries(some.text(some.characters(exclude_categories=["Cs"])), inner)
        ),
        max_leaves=20,
    ),
    some.booleans(),
)
def test_any_json_without_nul_comes_through_unchanged(value: object, ascii_only: bool):
    text = json.dumps(value, ensure_ascii=ascii_only)
    if "\\u0000" in text.replace("\\\\", ""):
        with pytest.raises(JsonRefused, match="NUL"):
            parse_strict(text.encode())
    else:
        assert parse_strict(text.encode()) == value


@given(some.binary(max_size=80))
def test_any_bytes_are_read_or_refused_within_themselves(body: bytes):
    refusal = None
    try:
        parse_strict(body)
    except JsonRefused as refused:
        refusal = refused

    assert refusal is None or refusal.kind == "malformed"
    assert refusal is None or 0 <= refusal.fields["position"] <= len(body)


class Leg(Body, frozen=True, kw_only=True):
    amount: Annotated[str, msgspec.Meta(pattern=r"^[0-9]+\Z")]


class Payment(Body, frozen=True, kw_only=True):
    legs: list[Leg]
    name: Annotated[str, msgspec.Meta(min_length=2, max_length=4)] = "abc"
    count: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1
    way: Literal["in", "out"] = "in"
    id: UUID | None = None
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    metadata: dict[Annotated[str, msgspec.Meta(max_length=3)], str] = {}
    flag: bool = False


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"legs": [{"amount": "1"}, {}]}, "/legs/1/amount", "field_missing"),
        ({"legs": [{"amount": "1", "x/y~`": 1}]}, "/legs/0/x~1y~0`", "field_unknown"),
        ({"legs": [{"amount": 1}]}, "/legs/0/amount", "field_type"),
        ({"legs": [{"amount": Decimal("1.5")}]}, "/legs/0/amount", "field_type"),
        ({"legs": [{"amount": None}]}, "/legs/0/amount", "field_type"),
        ({"legs": {}}, "/legs", "field_type"),
        ({"legs": [{"amount": "-1"}]}, "/legs/0/amount", "field_pattern"),
        ({"legs": [{"amount": "1\n"}]}, "/legs/0/amount", "field_pattern"),
        ({"name": "a"}, "/name", "field_length"),
        ({"name": "aaaaa"}, "/name", "field_length"),
        ({"count": 0}, "/count", "field_range"),
        ({"count": 10**60}, "/count", "field_range"),
        ({"count": Decimal("1.0")}, "/count", "field_type"),
        ({"count": "1"}, "/count", "field_type"),
        ({"way": "up"}, "/way", "field_choice"),
        ({"id": "x"}, "/id", "field_format"),
        ({"at": "2026-01-01T00:00:00"}, "/at", "field_format"),
        ({"at": "yesterday"}, "/at", "field_format"),
        ({"metadata": {"long": "1"}}, "/metadata", "field_length"),
        ({"metadata": {"a": 1}}, "/metadata", "field_type"),
        ({"flag": 1}, "/flag", "field_type"),
        ({"y": 1}, "/y", "field_unknown"),
        ({"y` - at `$.legs[0]": 1}, "/legs/0/y", "field_unknown"),
    ],
)
def test_a_refused_field_is_named_by_pointer_and_code(change: dict[str, object], pointer: str, code: str):
    with pytest.raises(Invalid) as refused:
        decode({"legs": []} | change, Payment)

    (error,) = refused.value.errors
    assert (error.pointer, error.code) == (pointer, code)
    assert error.detail == refused.value.detail
    assert "$" not in error.detail or "regex" in error.detail


def test_a_body_that_is_no_object_is_refused_at_the_root():
    with pytest.raises(Invalid) as refused:
        decode([], Payment)

    assert (refused.value.errors[0].pointer, refused.value.errors[0].code) == ("", "field_type")


def test_a_field_name_of_a_megabyte_does_not_come_back():
    with pytest.raises(Invalid) as refused:
        decode({"legs": [], "x" * 1_000_000: 1}, Payment)

    assert len(refused.value.detail) <= 200
    assert len(refused.value.errors[0].pointer) <= 200


def test_structs_decimals_and_ids_are_written_as_text():
    class Out(msgspec.Struct):
        id: UUID
        amount: Decimal
        at: str

    out = Out(UUID(int=1), Decimal("10.00"), rfc3339(datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))))

    assert encode([out, {UUID(int=2): gettext_lazy("no")}]) == (
        b'[{"id":"00000000-0000-0000-0000-000000000001","amount":"10.00","at":"2026-01-01T00:00:00.000000Z"},'
        b'{"00000000-0000-0000-0000-000000000002":"no"}]'
    )


def test_what_has_no_place_in_json_is_an_error_of_ours():
    with pytest.raises(TypeError, match="object has no place in JSON"):
        encode({"a": object()})


@pytest.mark.urls("tests.config.routes")
class TestThroughTheStack:
    def test_numbers_reach_the_view_without_passing_a_float(self, client: Client):
        answer = client.post(
            "/v2/echo", b'{"amount": 12345678901234567.89}', content_type="application/json", headers=KEY
        )

        assert (answer.status_code, answer.content) == (201, b'{"echo":{"amount":"12345678901234567.89"}}')
        assert answer["Content-Type"] == "application/json"

    def test_a_refused_field_is_a_422_with_its_pointer(self, client: Client):
        answer = client.post("/v2/orders", {"items": [{"amount": 1}]}, content_type="application/json", headers=KEY)

        assert answer.status_code == 422
        assert answer.json()["errors"] == [
            {"pointer": "/items/0/amount", "code": "field_type", "detail": "Expected `str`, got `int`"}
        ]

    def test_refused_json_is_a_400_with_its_place(self, client: Client):
        answer = client.post("/v2/echo", b'{"a":1,"a":2}', content_type="application/json", headers=KEY)

        assert answer.status_code == 400
        assert (answer.json()["code"], answer.json()["position"]) == ("json_duplicate_key", 7)

    @pytest.mark.parametrize(
        "content_type",
        [
            *(f"application/json; charset={charset}" for charset in ("utf-16", "zlib_codec", "bz2_codec", "idna")),
            *("text/plain", "application/xml"),
        ],
    )
    def test_other_media_types_and_charsets_are_refused(self, client: Client, content_type: str):
        answer = client.generic("POST", "/v2/echo", b"{}", content_type=content_type, headers=KEY)

        assert (answer.status_code, answer.json()["code"]) == (415, "media_type_unsupported")

    @pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=UTF-8"])
    def test_utf_8_may_be_named(self, client: Client, content_type: str):
        assert client.generic("POST", "/v2/echo", b"{}", content_type=content_type, headers=KEY).status_code == 201

    def test_a_compressed_body_is_refused_unread(self, client: Client):
        answer = client.post(
            "/v2/echo", b"\x1f\x8b", content_type="application/json", headers=KEY | {"Content-Encoding": "gzip"}
        )

        assert (answer.status_code, answer.json()["code"]) == (415, "media_type_unsupported")

    def test_a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_not(self, client: Client):
        limit = 1 << 20
        fits = b'"' + b"x" * (limit - 2) + b'"'

        read = client.post("/v2/echo", fits, content_type="application/json", headers=KEY)
        refused = client.post("/v2/echo", fits + b" ", content_type="application/json", headers=KEY)

        assert read.status_code == 201
        assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")
        assert refused.json()["limit_bytes"] == limit

    def test_a_view_may_take_more(self, client: Client):
        body = b"[" + b",".join([b'"' + b"x" * 1000 + b'"'] * 5000) + b"]"

        answer = client.post("/v2/big-echo", body, content_type="application/json", headers=KEY)

        assert (answer.status_code, answer.json()) == (200, {"items": 5000})

    def test_a_body_without_length_is_refused(self, client: Client, settings):
        settings.MIDDLEWARE = ["config.api.length.KnownLength"]

        answer = client.generic(
            "POST", "/v2/echo", b"", content_type="application/json", headers={"Transfer-Encoding": "chunked"}
        )

        assert (answer.status_code, answer.json()["code"]) == (411, "length_required")
