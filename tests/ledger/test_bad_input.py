"""What cannot be accepted is refused by a code of its own: nothing is written, no balance moves, no key is used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from config.runtime.clock import now, rfc3339
from ledger.domain.accounts import Frozen
from ledger.models import Account, Entry, Journal, Transaction, TransactionEvent
from ledger.services.account_changes import freeze_account
from tests.people import URL, Tenant, body

NOWHERE = "01a00000-0000-7000-8000-000000000000"
DEEP = "[" * 40 + "]" * 40
Bank = tuple[Tenant, Any, Any]


@pytest.fixture
def people(bank: Tenant) -> Bank:
    """A bank where alice holds 10.00 and bob nothing."""
    return bank, bank.person("alice", holding="10.00"), bank.person("bob")


@pytest.fixture(scope="module")
def rich(django_db_setup, django_db_blocker) -> Iterator[Tenant]:
    """A bank for all tests that leave no trace, or one of a single transfer."""
    with django_db_blocker.unblock():
        rich = Tenant.new()
        rich.person("alice", holding="1000.00")
        rich.person("bob")
        rich.open("box:EUR", currency="EUR")
        yield rich


@pytest.fixture
def key() -> str:
    return str(uuid4())


def written(bank: Tenant) -> dict[str, Any]:
    """Return how many rows of each kind the client has, and its balances."""
    mine = {"client": bank.client}
    return {
        "transactions": Transaction.objects.filter(**mine).count(),
        "journals": Journal.objects.filter(**mine).count(),
        "entries": Entry.objects.filter(account__client=bank.client).count(),
        "history": TransactionEvent.objects.filter(transaction__client=bank.client).count(),
        "accounts": list(
            Account.objects.filter(**mine)
            .order_by("id")
            .values_list("path", "balance__posted_debits", "balance__posted_credits", "balance__version")
        ),
    }


def problem(answer: Any) -> tuple[int, str]:
    """Return status and code of a problem document that has everything a problem has."""
    assert answer["Content-Type"] == "application/problem+json", answer.content
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["request_id"] == answer["X-Request-ID"]
    assert document["type"] == f"/docs/errors#{document['code']}"
    assert document["title"]
    assert document["detail"]
    return answer.status_code, document["code"]


BODIES: dict[str, tuple[Any, int, str]] = {
    "an unknown type": (body(type="gift"), 422, "type_unknown"),
    "an unknown debit path": (body(debit_account="users:nobody:USD"), 422, "account_unknown"),
    "an unknown credit path": (body(credit_account="users:nobody:USD"), 422, "account_unknown"),
    "an unknown id": (body(debit_account=NOWHERE), 422, "account_unknown"),
    "a path that is none": (body(debit_account="a b'; --"), 422, "account_unknown"),
    "an empty account": (body(debit_account=""), 422, "field_length"),
    "a long account": (body(debit_account="a" * 256), 422, "field_length"),
    "an account by number": (body(debit_account=1), 422, "field_type"),
    "no account": ({key: value for key, value in body().items() if key != "debit_account"}, 422, "field_missing"),
    "one account twice": (body(credit_account="users:alice:USD"), 422, "same_account"),
    "another currency than the accounts'": (body(currency="EUR"), 422, "currency_mismatch"),
    "an account in another currency": (body(credit_account="box:EUR"), 422, "currency_mismatch"),
    "an unknown currency": (body(currency="XXQ"), 422, "currency_unknown"),
    "a currency in lower case": (body(currency="usd"), 422, "field_pattern"),
    "a currency and a newline": (body(currency="USD\n"), 422, "field_pattern"),
    "too many decimals": (body(amount="1.001"), 422, "amount_too_many_decimals"),
    "nothing": (body(amount="0.00"), 422, "amount_not_positive"),
    "less than nothing": (body(amount="-1.00"), 422, "amount_negative"),
    "a sign": (body(amount="+1.00"), 422, "amount_malformed"),
    "39 digits": (body(amount="9" * 39), 422, "amount_too_large"),
    "38 digits before the point": (body(amount="9" * 38 + ".00"), 422, "amount_too_large"),
    "80 digits": (body(amount="9" * 80), 422, "amount_too_large"),
    "81 digits": (body(amount="9" * 81), 422, "field_length"),
    "an exponent": (body(amount="1e2"), 422, "amount_malformed"),
    "Arabic digits": (body(amount="\u0661\u0660"), 422, "amount_malformed"),
    "grouping": (body(amount="1,000.00"), 422, "amount_malformed"),
    "a space": (body(amount="1.00 "), 422, "amount_malformed"),
    "a float": (body(amount=1.5), 422, "field_type"),
    "a number": (body(amount=1), 422, "field_type"),
    "no amount": (body(amount=None), 422, "field_type"),
    "a list": ([body()], 422, "field_type"),
    "a text": ('"transfer"', 422, "field_type"),
    "nothing at all": ("null", 422, "field_type"),
    "an empty object": ({}, 422, "field_missing"),
    "an unknown field": (body(source_account="users:alice:USD"), 422, "field_unknown"),
    "a reference too long": (body(reference="r" * 256), 422, "field_length"),
    "an empty reference": (body(reference=""), 422, "field_length"),
    "a description too long": (body(description="d" * 501), 422, "field_length"),
    "51 metadata keys": (body(metadata={f"k{n}": n for n in range(51)}), 422, "field_length"),
    "a metadata key with a space": (body(metadata={"a b": 1}), 422, "field_pattern"),
    "a metadata key with a newline": (body(metadata={"a\n": 1}), 422, "field_pattern"),
    "a metadata key of 41": (body(metadata={"k" * 41: 1}), 422, "field_pattern"),
    "an empty metadata key": (body(metadata={"": 1}), 422, "field_pattern"),
    "501 characters of metadata": (body(metadata={"k": "v" * 501}), 422, "field_length"),
    "nested metadata": (body(metadata={"k": {"k": 1}}), 422, "field_type"),
    "a list in metadata": (body(metadata={"k": [1]}), 422, "field_type"),
    "a float in metadata": (body(metadata={"k": 1.5}), 422, "field_type"),
    "a number that others would round": (body(metadata={"k": 2**53}), 422, "field_range"),
    "a number of 40 digits in metadata": (body(metadata={"k": 10**39}), 422, "field_range"),
    "metadata that is none": (body(metadata=[]), 422, "field_type"),
    "a naive time": (body(effective_at="2026-01-01T00:00:00"), 422, "field_format"),
    "a date": (body(effective_at="2026-01-01"), 422, "field_format"),
    "a time as a number": (body(effective_at=1767225600), 422, "field_type"),
    "the future": (body(effective_at="2999-01-01T00:00:00Z"), 422, "effective_at_in_future"),
    "the last moment of all": (body(effective_at="9999-12-31T23:59:59-23:59"), 422, "effective_at_in_future"),
    "a 25th hour": (body(effective_at="2026-01-01T25:00:00Z"), 422, "field_format"),
    "a naive time to execute it": (body(execute_at="2999-01-01T00:00:00"), 422, "field_format"),
    "a time to execute it as a number": (body(execute_at=4102444800), 422, "field_type"),
    "a far time to execute it": (body(execute_at="2999-01-01T00:00:00Z"), 422, "execute_at_too_far"),
    "the last moment to execute it": (body(execute_at="9999-12-31T23:59:59-23:59"), 422, "execute_at_too_far"),
    "a key twice": ('{"type": "transfer", "type": "fee"}', 400, "json_duplicate_key"),
    "a key twice, once escaped": ('{"type": "transfer", "\\u0074ype": "fee"}', 400, "json_duplicate_key"),
    "a metadata key twice": (json.dumps(body())[:-1] + ', "metadata": {"a": 1, "a": 2}}', 400, "json_duplicate_key"),
    "depth": (json.dumps(body())[:-1] + f', "metadata": {DEEP}}}', 400, "json_too_deep"),
    "great depth": ("[" * 100_000, 400, "json_too_deep"),
    "NUL": (body(description="a\0b"), 400, "json_nul"),
    "NUL in metadata": (body(metadata={"k": "a\0b"}), 400, "json_nul"),
    "NUL in a metadata key": (body(metadata={"a\0b": 1}), 400, "json_nul"),
    "half a character in metadata": ('{"metadata": {"k": "\\udc00"}}', 400, "json_surrogate"),
    "half a character in a metadata key": ('{"metadata": {"\\ud800": 1}}', 400, "json_surrogate"),
    "a NUL in a reference": (body(reference="r\0"), 400, "json_nul"),
    "a NUL in a type": (body(type="transfer\0"), 400, "json_nul"),
    "a type and a newline": (body(type="transfer\n"), 422, "type_unknown"),
    "a path and a newline": (body(debit_account="users:alice:USD\n"), 422, "account_unknown"),
    "a space on both sides": (body(amount=" 12 "), 422, "amount_malformed"),
    "an underscore": (body(amount="1_000"), 422, "amount_malformed"),
    "a comma": (body(amount="1,5"), 422, "amount_malformed"),
    "an exponent without a sign": (body(amount="1e3"), 422, "amount_malformed"),
    "nothing below zero": (body(amount="-0"), 422, "amount_negative"),
    "an infinite amount": (body(amount="Infinity"), 422, "amount_malformed"),
    "no number": (body(amount="NaN"), 422, "amount_malformed"),
    "an exponent of 400": ('{"amount": 1e400}', 400, "json_number"),
    "five decimals": (body(amount="1.00000"), 422, "amount_too_many_decimals"),
    "half a character": ('{"description": "\\ud800"}', 400, "json_surrogate"),
    "half a character in bytes": (b'{"description": "\xed\xa0\x80"}', 400, "json_not_utf8"),
    "Latin-1": ('{"description": "ü"}'.encode("latin-1"), 400, "json_not_utf8"),
    "a byte order mark": (b"\xef\xbb\xbf{}", 400, "json_not_utf8"),
    "NaN": ('{"amount": NaN}', 400, "json_number"),
    "Infinity": ('{"amount": -Infinity}', 400, "json_number"),
    "a huge exponent": ('{"amount": 1e999999999}', 400, "json_number"),
    "5,000 digits": ('{"amount": ' + "9" * 5000 + "}", 400, "json_number"),
    "half an object": ('{"type": "transfer"', 400, "json_invalid"),
    "two objects": ("{}{}", 400, "json_invalid"),
    "a comma too many": ('{"type": "transfer",}', 400, "json_invalid"),
    "a comment": ("{} // done", 400, "json_invalid"),
    "single quotes": ("{'type': 'transfer'}", 400, "json_invalid"),
    "more than 1 MiB": (json.dumps(body(description="d" * (1 << 20))), 413, "body_too_large"),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "status", "code"), BODIES.values(), ids=BODIES)
def test_a_body_is_refused_and_leaves_its_key_unused(
    db, rich: Tenant, key: str, *, sent: Any, status: int, code: str
) -> None:
    before = written(rich)

    assert problem(rich.post(URL, sent, key=key)) == (status, code)

    assert written(rich) == before
    again = rich.post(URL, body(), key=key)
    assert (again.status_code, again.get("Idempotent-Replayed")) == (201, None)


def test_the_place_of_a_mistake_is_a_json_pointer(db, rich: Tenant) -> None:
    places = {
        "/amount": body(amount="x"),
        "/debit_account": body(debit_account="x"),
        "/currency": body(currency="XXQ"),
        "/effective_at": body(effective_at="2999-01-01T00:00:00Z"),
        "/metadata/k": body(metadata={"k": 2**60}),
        "/reference": body(reference=""),
        "/nonsense": body(nonsense=1),
    }
    for pointer, sent in places.items():
        assert [error["pointer"] for error in rich.post(URL, sent).json()["errors"]] == [pointer]


@pytest.mark.parametrize("by", ["id", "path"])
def test_another_clients_account_is_as_unknown_as_none(people: Bank, other_bank: Tenant, by: str) -> None:
    bank = people[0]
    mallory = other_bank.person("mallory", holding="10.00")
    name = str(getattr(mallory, by))
    for side in ("debit_account", "credit_account"):
        before = written(bank), written(other_bank)
        assert problem(bank.post(URL, body(**{side: name}))) == (422, "account_unknown")
        assert (written(bank), written(other_bank)) == before


MOMENTS = {
    "half a second": ("2025-12-31T23:59:59.5Z", "2025-12-31T23:59:59.500000Z"),
    "before the epoch": ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59.000000Z"),
    "another offset": ("2026-01-01T00:30:00+05:30", "2025-12-31T19:00:00.000000Z"),
}


@pytest.mark.parametrize(("sent", "shown"), MOMENTS.values(), ids=MOMENTS)
def test_a_moment_of_the_past_is_kept_as_it_was_said(people: Bank, settings: Any, sent: str, shown: str) -> None:
    settings.BACKDATE_MAX_DAYS = 36_500
    bank = people[0]
    answer = bank.post(URL, body(effective_at=sent))
    stored = bank.get(answer["Location"])
    assert (answer.json()["effective_at"], stored.json()["effective_at"]) == (shown, shown)


# In UTC the last lies before the year 1; in the engine it would fail everybody who shares its commit.
@pytest.mark.parametrize("days", [0, 90, 36_500])
@pytest.mark.parametrize("sent", ["1900-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_what_took_effect_too_long_ago_is_refused(people: Bank, settings: Any, sent: str, days: int) -> None:
    settings.BACKDATE_MAX_DAYS = days
    bank = people[0]
    before = written(bank)
    answer = bank.post(URL, body(effective_at=sent))
    assert problem(answer) == (422, "effective_at_too_old")
    assert answer.json()["errors"][0]["pointer"] == "/effective_at"
    assert written(bank) == before


def test_a_booking_may_be_back_dated_to_the_day_that_is_configured(people: Bank, settings: Any) -> None:
    settings.BACKDATE_MAX_DAYS = 3
    ages = {"within": timedelta(days=3, minutes=-1), "beyond": timedelta(days=3, minutes=1)}
    answers = {name: people[0].post(URL, body(effective_at=rfc3339(now() - age))) for name, age in ages.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == {"within": 201, "beyond": 422}


HEADERS = {
    "no key": ({"Idempotency-Key": None}, 400, "idempotency_key_missing"),
    "an empty key": ({"Idempotency-Key": ""}, 400, "idempotency_key_malformed"),
    "a blank key": ({"Idempotency-Key": "  "}, 400, "idempotency_key_malformed"),
    "a key of 256": ({"Idempotency-Key": "k" * 256}, 400, "idempotency_key_malformed"),
    "a key with a space": ({"Idempotency-Key": "a b"}, 400, "idempotency_key_malformed"),
    "a key beyond ASCII": ({"Idempotency-Key": "schl\xfcssel"}, 400, "idempotency_key_malformed"),
    "half a quoted key": ({"Idempotency-Key": '"abc'}, 400, "idempotency_key_malformed"),
    "an empty quoted key": ({"Idempotency-Key": '""'}, 400, "idempotency_key_malformed"),
    "no wait": ({"Prefer": "wait=0"}, 400, "prefer_malformed"),
    "a long wait": ({"Prefer": "wait=31"}, 400, "prefer_malformed"),
    "half a second": ({"Prefer": "wait=0.5"}, 400, "prefer_malformed"),
    "a wait of words": ({"Prefer": "wait=soon"}, 400, "prefer_malformed"),
    "no preference": ({"Prefer": "=5"}, 400, "prefer_malformed"),
    "a form": ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "media_type_unsupported"),
    "a form in parts": ({"Content-Type": "multipart/form-data; boundary=b"}, 415, "media_type_unsupported"),
    "text": ({"Content-Type": "text/plain"}, 415, "media_type_unsupported"),
    "no type": ({"Content-Type": ""}, 415, "media_type_unsupported"),
    "another charset": ({"Content-Type": "application/json; charset=utf-16"}, 415, "media_type_unsupported"),
    "a charset twice": (
        {"Content-Type": "application/json; charset=utf-8; charset=utf-7"},
        415,
        "media_type_unsupported",
    ),
    "a packed body": ({"Content-Encoding": "gzip"}, 415, "media_type_unsupported"),
    "an answer in XML": ({"Accept": "application/xml"}, 406, "not_acceptable"),
}


@pytest.mark.parametrize(("headers", "status", "code"), HEADERS.values(), ids=HEADERS)
def test_a_header_is_refused(
    db, rich: Tenant, key: str, *, headers: dict[str, str | None], status: int, code: str
) -> None:
    before = written(rich)
    sent = {"Idempotency-Key": key, "Content-Type": "application/json"} | headers
    content_type = sent.pop("Content-Type") or ""
    given = {name: value for name, value in sent.items() if value is not None}

    answer = rich.http().post(URL, json.dumps(body()), content_type=content_type, headers=given)

    assert problem(answer) == (status, code)
    assert written(rich) == before


FAILURES = {
    "alice may not be debited": ({}, ("alice", Frozen.DEBITS), "account_frozen"),
    "alice is frozen": ({}, ("alice", Frozen.BOTH), "account_frozen"),
    "bob may not be credited": ({}, ("bob", Frozen.CREDITS), "account_frozen"),
    "a cent too much": ({"amount": "10.01"}, None, "insufficient_funds"),
    "all the money of the world": ({"amount": "9" * 36}, None, "insufficient_funds"),
    "bob's ceiling": ({"credit_account": "users:carol:USD", "amount": "5.01"}, None, "ceiling_exceeded"),
}


@pytest.mark.parametrize(("change", "freeze", "code"), FAILURES.values(), ids=FAILURES)
def test_what_the_books_refuse_is_stored_as_failed(people: Bank, change: Any, freeze: Any, code: str) -> None:
    bank, alice, bob = people
    bank.open("users:carol:USD", user_id="carol", ceiling="5.00")
    if freeze:
        account = {"alice": alice, "bob": bob}[freeze[0]]
        freeze_account(
            client_id=bank.client.pk, account_id=account.id, sides=freeze[1], actor="staff:root", reason="order"
        )
    before = written(bank)

    answer = bank.post(URL, body(**change), key="once")

    assert problem(answer) == (409, code)
    stored = bank.get(f"{URL}/{answer.json()['transaction_id']}").json()
    assert (stored["status"], stored["error"]["code"]) == ("failed", code)
    assert stored["receipt_code"] == answer.json()["receipt_code"]
    assert answer["Location"] == f"{URL}/{stored['id']}"
    after = written(bank)
    assert (after["transactions"], after["history"]) == (before["transactions"] + 1, before["history"] + 1)
    assert {name: after[name] for name in ("journals", "entries", "accounts")} == {
        name: before[name] for name in ("journals", "entries", "accounts")
    }
    again = bank.post(URL, body(**change), key="once")
    assert (problem(again), again["Idempotent-Replayed"]) == ((409, code), "true")
    assert again.json()["transaction_id"] == stored["id"]
    assert written(bank) == after


QUERIES = {
    "limit=0": "limit_out_of_range",
    "limit=201": "limit_out_of_range",
    "limit=x": "limit_out_of_range",
    "limit=-1": "limit_out_of_range",
    "limit=1.5": "limit_out_of_range",
    "limit=%D9%A1": "limit_out_of_range",
    "limit=": "parameter_empty",
    "limit=5&limit=5": "parameter_repeated",
    "limits=5": "parameter_unknown",
    "status": "parameter_empty",
    "status=done": "parameter_invalid",
    "status__in=failed,,completed": "parameter_invalid",
    "status__in=failed,bogus": "parameter_invalid",
    "status=failed&status=completed": "parameter_repeated",
    "amoun__gte=5": "parameter_unknown",
    "amount[gte]=5": "parameter_unknown",
    "metadata__order__regex=.": "parameter_unknown",
    "metadata__order=1": "parameter_unknown",
    "client_id=1": "parameter_unknown",
    "client__name__startswith=b": "parameter_unknown",
    "ordering=-amount": "parameter_unknown",
    "page=2": "parameter_unknown",
    "format=api": "parameter_unknown",
    "%FF=1": "parameter_unknown",
    "status__in=": "parameter_empty",
    "type=gift": "parameter_invalid",
    "type__in=" + ",".join(["transfer"] * 101): "parameter_invalid",
    "amount__gte=1e3": "parameter_invalid",
    "amount__gte=-1": "parameter_invalid",
    "amount__gte=x": "parameter_invalid",
    "amount__near=1": "parameter_unknown",
    "created_at__gte=2026-01-01": "parameter_invalid",
    "created_at__gte=2026-01-01T00:00:00": "parameter_invalid",
    "created_at__gte=2026-01-01T00:00:00+01:00": "parameter_invalid",
    "created_at__gte=2026-02-30T00:00:00Z": "parameter_invalid",
    "created_at__lt=2026-01-01T00:00:00Z%00": "parameter_invalid",
    "created_at__lt=%D9%A2026-01-01T00:00:00Z": "parameter_invalid",
    "reference=%00": "parameter_invalid",
    "reference=%FF": "parameter_invalid",
    "reference=%ED%A0%80": "parameter_invalid",
    "reference=%20": "parameter_invalid",
    "reference=" + "r" * 256: "parameter_invalid",
    "cursor=": "parameter_empty",
    "cursor=x": "cursor_malformed",
    "cursor=a01a00000.0123456789abcdef~forged": "cursor_malformed",
    "cursor=" + "c" * 600: "cursor_malformed",
    "cursor=%C3%BC": "cursor_malformed",
}


@pytest.mark.parametrize(("query", "code"), QUERIES.items(), ids=[query[:40] for query in QUERIES])
def test_a_query_is_refused(db, rich: Tenant, query: str, code: str) -> None:
    answer = rich.get(f"{URL}?{query}")
    status, found = problem(answer)
    codes = {found} | {error["code"] for error in answer.json()["errors"]}
    assert status == 400
    assert code in codes


@pytest.mark.parametrize("url", ["accounts/{id}", "transactions/{id}", "transactions/{id}/history"])
def test_where_no_parameter_is_known_none_is_taken(db, rich: Tenant, url: str) -> None:
    assert problem(rich.get(f"/v2/{url.format(id=NOWHERE)}?verbose=1")) == (400, "parameters_refused")


def test_a_cursor_goes_with_its_list_its_filters_and_its_client(people: Bank, other_bank: Tenant) -> None:
    bank, alice, bob = people
    bank.move(alice.path, bob.path, "1.00")
    cursor = bank.get(f"{URL}?limit=1&status=completed").json()["next_cursor"]
    assert bank.get(f"{URL}?limit=1&status=completed&cursor={cursor}").status_code == 200
    elsewhere = [
        (bank, f"{URL}?limit=1&cursor={cursor}"),
        (bank, f"{URL}?limit=1&status=failed&cursor={cursor}"),
        (bank, f"/v2/accounts?cursor={cursor}"),
        (bank, f"/v2/accounts/{alice.id}/entries?cursor={cursor}"),
        (other_bank, f"{URL}?limit=1&status=completed&cursor={cursor}"),
    ]
    for tenant, url in elsewhere:
        assert problem(tenant.get(url)) == (400, "cursor_mismatch"), url
    for changed in (cursor[:-1], cursor[1:], cursor.swapcase(), "b" + cursor[1:], cursor.replace("~", ":")):
        assert problem(bank.get(f"{URL}?limit=1&status=completed&cursor={changed}")) == (400, "cursor_malformed")


@pytest.mark.parametrize(
    ("method", "url", "status", "code"),
    [
        ("GET", f"/v2/transactions/{NOWHERE}", 404, "not_found"),
        ("GET", f"/v2/accounts/{NOWHERE}", 404, "not_found"),
        ("GET", "/v2/transactions/1", 404, "route_not_found"),
        ("GET", f"/v2/transactions/{NOWHERE.upper()}", 404, "route_not_found"),
        ("GET", f"/v2/transactions/{NOWHERE[:-1]}", 404, "route_not_found"),
        ("GET", "/v2/transactions/%00", 404, "route_not_found"),
        ("GET", "/v2/transactions/%FF", 404, "route_not_found"),
        ("GET", "/v2/transactions/../../etc/passwd", 404, "route_not_found"),
        ("GET", "/v2/transactions/", 404, "route_not_found"),
        ("GET", "/v2/nothing", 404, "route_not_found"),
        ("GET", "/v2/receipts/nonsense", 422, "receipt_malformed"),
        ("GET", "/v2/receipts/%00%FF", 422, "receipt_malformed"),
        ("PUT", "/v2/transactions", 405, "method_not_allowed"),
        ("DELETE", f"/v2/transactions/{NOWHERE}", 405, "method_not_allowed"),
        ("PATCH", f"/v2/accounts/{NOWHERE}", 405, "method_not_allowed"),
    ],
)
def test_an_address_is_refused(db, rich: Tenant, *, method: str, url: str, status: int, code: str) -> None:
    assert problem(rich.http().generic(method, url)) == (status, code)


ACCOUNTS = {
    "no path": ({"path": ""}, 422, "field_length"),
    "an empty segment": ({"path": "users::USD"}, 422, "path_malformed"),
    "a colon at the end": ({"path": "users:"}, 422, "path_malformed"),
    "a space": ({"path": "users:a b"}, 422, "path_malformed"),
    "a newline at the end": ({"path": "users:a\n"}, 422, "path_malformed"),
    "a segment of 65": ({"path": "a" * 65}, 422, "path_malformed"),
    "letters beyond ASCII": ({"path": "users:жанна"}, 422, "path_malformed"),
    "an unknown currency": ({"currency": "XXQ"}, 422, "currency_unknown"),
    "an unknown kind": ({"kind": "wallet"}, 422, "field_choice"),
    "a user with a space": ({"user_id": "a b"}, 422, "field_pattern"),
    "a floor above zero": ({"floor": "0.01"}, 422, "floor_above_zero"),
    "a ceiling below zero": ({"ceiling": "-0.01"}, 422, "ceiling_below_zero"),
    "a floor with too many decimals": ({"floor": "-0.001"}, 422, "amount_too_many_decimals"),
    "a floor that is a number": ({"floor": -1}, 422, "field_type"),
    "a floor of words": ({"floor": "none"}, 422, "amount_malformed"),
    "a ceiling beyond all": ({"ceiling": "9" * 40}, 422, "amount_too_large"),
    "a balance": ({"balance": "5.00"}, 422, "field_unknown"),
    "a path that is taken": ({"path": "users:alice:USD"}, 409, "path_taken"),
}


@pytest.mark.parametrize(("change", "status", "code"), ACCOUNTS.values(), ids=ACCOUNTS)
def test_an_account_is_not_opened(db, rich: Tenant, key: str, *, change: Any, status: int, code: str) -> None:
    before = written(rich)
    good = {"path": key, "currency": "USD", "kind": "liability", "user_id": "carol"}

    assert problem(rich.post("/v2/accounts", good | change, key=key)) == (status, code)

    assert written(rich) == before
    assert rich.post("/v2/accounts", good, key=key).status_code == 201
