from __future__ import annotations

from decimal import Decimal

import pytest

from config.api.idempotency import IdempotencyKeyMalformed, IdempotencyKeyMissing, fingerprint, parse_key
from config.api.json import parse_strict
from config.api.prefer import Preferences, PreferMalformed, parse_prefer


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("a", "a"),
        (" 8e03978e-40d5-43dd-bc93-6894a57f9324 ", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ('"8e03978e"', "8e03978e"),
        (r'"a\"b\\c"', r'a"b\c'),
        ("!~", "!~"),
        ('a"b', 'a"b'),
        ("x" * 255, "x" * 255),
        ('"' + "x" * 255 + '"', "x" * 255),
    ],
)
def test_a_key_is_read_with_and_without_quotes(header: str, key: str):
    assert parse_key(header, required=True) == key


@pytest.mark.parametrize(
    "header", ["", " ", '""', '"', '"a', '"a"b', '"a";x=1', r'"\a"', "a b", '"a b"', "a\tb", "é", "a\x7f", "x" * 256]
)
def test_a_malformed_key_is_refused_even_where_it_is_optional(header: str):
    with pytest.raises(IdempotencyKeyMalformed):
        parse_key(header, required=False)


def test_a_missing_key_is_refused_only_where_it_is_required():
    assert parse_key(None, required=False) is None
    with pytest.raises(IdempotencyKeyMissing):
        parse_key(None, required=True)


def test_a_fingerprint_does_not_depend_on_spelling():
    one = parse_strict(b'{"a": "1", "b": {"c": [1, null], "d": 1.50}}')
    same = parse_strict(b'{"b":{"d":1.50,"c":[1,null]},"\\u0061":"1"}')

    assert fingerprint("pay", one) == fingerprint("pay", same)
    assert fingerprint("pay", one).hex() == "de427885ee7c8bab67ae9c825e86d8a710b02b11948bcb172b4590e41f15833f"


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("refund", {"a": "1"}),
        ("pay", {"a": 1}),
        ("pay", {"a": Decimal(1)}),
        ("pay", {"a": "1", "b": None}),
        ("pay", {"a": ["1"]}),
        ("pay", {}),
        ("pay", None),
    ],
)
def test_another_operation_or_body_has_another_fingerprint(operation: str, body: object):
    assert fingerprint(operation, body) != fingerprint("pay", {"a": "1"})


@pytest.mark.parametrize(
    ("header", "preferences", "applied"),
    [
        (None, Preferences(), ""),
        ("", Preferences(), ""),
        ("wait=5", Preferences(wait_s=5), "wait=5"),
        (' Wait = "30" ', Preferences(wait_s=30), "wait=30"),
        ("respond-async", Preferences(respond_async=True), ""),
        ("respond-async, wait=10", Preferences(wait_s=10, respond_async=True), "wait=10"),
        ("foo; respond-async, bar=respond-async", Preferences(), ""),
        (" Respond-Async ;x=1", Preferences(respond_async=True), ""),
        ("wait=1, wait=2", Preferences(wait_s=1), "wait=1"),
        ('return=minimal; foo="a, b"; bar, priority=5,wait=3', Preferences(wait_s=3), "wait=3"),
        ("handling=lenient", Preferences(), ""),
    ],
)
def test_preferences_are_read_and_unknown_ones_ignored(header: str | None, preferences: Preferences, applied: str):
    assert parse_prefer(header) == preferences
    assert parse_prefer(header).applied(waited=True) == applied


@pytest.mark.parametrize(
    "header",
    ["wait", "wait=", "wait=0", "wait=31", "wait=-1", "wait=1.5", "wait=x", "wait 5", 'wait="5', "=5", "wait=٣"],
)
def test_a_malformed_preference_is_refused(header: str):
    with pytest.raises(PreferMalformed):
        parse_prefer(header)
