"""Reconciliations over HTTP: a statement of ours at a bank beside our own account of it, break by break."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from ledger.domain.matching import Verdict
from ledger.locks import ask_for_keys
from ledger.models import Account, Entry, Journal, Reconciliation, ReconciliationBreak, Transaction
from ledger.services import reconciliations
from tests.ledger.hostile import INTENT, Books, booking, connect, held
from tests.ledger.locks import in_thread, waiting_for_locks
from tests.people import Tenant

URL = "/v2/reconciliations"
OURS = "banks:main:EUR"
GOOD = "b1,2026-03-01,,,,1.00,1.00"
HEADER = "id,date,reference,description,counterparty,amount,balance"


@pytest.fixture
def main(bank: Tenant) -> Tenant:
    """A bank's client that has an account at another bank, an asset, and one of its own against it."""
    bank.open(OURS, kind="asset", currency="EUR")
    bank.open("sales:EUR", kind="income", currency="EUR")
    return bank


def book(tenant: Tenant, day: str, amount: str, reference: str | None = None) -> Any:
    """Book money that came in, or with a minus went out, with effect on a day."""
    pair = (OURS, "sales:EUR") if not amount.startswith("-") else ("sales:EUR", OURS)
    moved = tenant.move(
        *pair,
        amount.removeprefix("-"),
        currency="EUR",
        reference=reference,
        effective_at=datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC),
    )
    return moved.transaction


def statement(*rows: str) -> str:
    return "\n".join((HEADER, *rows, ""))


def body(*rows: str, **more: Any) -> dict[str, Any]:
    return {"account": OURS, "mapping": "iso_signed", "content": statement(*rows)} | more


def reconcile(tenant: Tenant, *rows: str, **more: Any) -> dict[str, Any]:
    """Reconcile, and return what was found with all its breaks."""
    made = tenant.post(URL, body(*rows, **more))
    assert made.status_code == 201, made.content
    shown: dict[str, Any] = tenant.get(f"{made['Location']}?limit=200").json()
    assert {name: value for name, value in shown.items() if name != "breaks"} == made.json()
    assert shown["breaks"]["next_cursor"] is None
    return shown


def told(shown: dict[str, Any]) -> list[tuple[str, int | None, str | None]]:
    """Return each break's kind, line number and entry's amount."""
    return [
        (one["kind"], one["line"] and one["line"]["number"], one["entry"] and one["entry"]["amount"])
        for one in shown["breaks"]["data"]
    ]


def everything(tenant: Tenant) -> list[Any]:
    """Return all rows of the books of a client."""
    mine = Account.objects.filter(client=tenant.client).order_by("id")
    return [
        list(mine.values()),
        list(mine.values_list("balance__posted_debits", "balance__posted_credits", "balance__version")),
        list(Transaction.objects.filter(client=tenant.client).order_by("id").values()),
        list(Journal.objects.filter(client=tenant.client).order_by("id").values()),
        list(Entry.objects.filter(account__client=tenant.client).order_by("journal_id", "line").values()),
    ]


def test_each_kind_of_break_is_found_and_the_books_stay_as_they_are(main: Tenant) -> None:
    receipt = book(main, "2026-03-02", "100.00").receipt_code
    book(main, "2026-03-02", "-20.00", "INV-2")
    amount = book(main, "2026-03-03", "30.00", "INV-3")
    late = book(main, "2026-03-20", "40.00", "INV-4")
    book(main, "2026-03-05", "50.00", "INV-5")
    book(main, "2026-03-06", "60.00")
    book(main, "2026-03-06", "60.00")
    book(main, "2026-03-08", "70.00")
    missing = book(main, "2026-03-09", "80.00")
    book(main, "2026-02-20", "90.00")
    book(main, "2026-04-02", "1.00")
    before = everything(main)

    shown = reconcile(
        main,
        f"b1,2026-03-01,,Thank you! {receipt.lower()}; Ltd,,100.00,100.00",
        "b2,2026-03-02,INV-2,,,-20.00,80.00",
        "b3,2026-03-03,INV-3,,,33.00,113.00",
        "b4,2026-03-04,INV-4,Rent,Smith,40.00,153.00",
        "b5,2026-03-05,INV-5,,,50.00,203.00",
        "b6,2026-03-06,INV-5,,,50.00,253.00",
        "b7,2026-03-06,,,,60.00,313.00",
        "b8,2026-03-10,,,,70.00,383.00",
        "b9,2026-03-31,,,,99.00,482.00",
    )

    assert shown["counts"] == {
        "total": {"lines": 9, "entries": 9},
        "matched": {"lines": 4, "entries": 4},
        "amount_differs": {"lines": 1, "entries": 1},
        "date_outside_window": {"lines": 1, "entries": 1},
        "duplicate": {"lines": 1, "entries": 0},
        "ambiguous": {"lines": 1, "entries": 2},
        "missing_in_books": {"lines": 1, "entries": 0},
        "missing_at_bank": {"lines": 0, "entries": 1},
    }
    assert told(shown) == [
        ("amount_differs", 4, "30.00"),
        ("date_outside_window", 5, "40.00"),
        ("duplicate", 7, None),
        ("ambiguous", None, "60.00"),
        ("ambiguous", None, "60.00"),
        ("ambiguous", 8, None),
        ("missing_in_books", 10, None),
        ("missing_at_bank", None, "80.00"),
    ]
    by_kind = {one["kind"]: one for one in shown["breaks"]["data"]}
    assert by_kind["date_outside_window"] == {
        "index": 1,
        "kind": "date_outside_window",
        "line": {"number": 5, "date": "2026-03-04", "amount": "40.00", "balance": "153.00", "id": "b4"}
        | {"reference": "INV-4", "description": "Rent", "counterparty": "Smith"},
        "entry": {"account_version": 4, "date": "2026-03-20", "amount": "40.00", "reference": "INV-4"}
        | {"transaction_id": str(late.id), "receipt_code": late.receipt_code},
        "group": None,
        "repeats": None,
    }
    assert by_kind["amount_differs"]["entry"]["transaction_id"] == str(amount.id)
    assert by_kind["missing_at_bank"]["entry"]["receipt_code"] == missing.receipt_code
    assert (by_kind["duplicate"]["repeats"], by_kind["ambiguous"]["group"]) == (6, 1)
    assert shown["closing"] == {"bank": "482.00", "books": "560.00", "difference": "-78.00", "agrees": False}
    assert (shown["first_date"], shown["last_date"], shown["agrees"]) == ("2026-03-01", "2026-03-31", False)
    assert (shown["account"]["path"], shown["currency"], shown["mapping"]) == (OURS, "EUR", "iso_signed")
    assert everything(main) == before


def test_a_statement_that_agrees_has_no_breaks_and_the_same_one_is_found_the_same_again(main: Tenant) -> None:
    book(main, "2026-02-27", "100.00")
    book(main, "2026-03-02", "-20.00", "INV-2")
    rows = ("b1,2026-03-01,,,,100.00,100.00", "b2,2026-03-02,INV-2,,,-20.00,80.00")

    once, again = reconcile(main, *rows), reconcile(main, *rows)

    assert (once["agrees"], once["breaks"]["data"]) == (True, [])
    assert once["closing"] == {"bank": "80.00", "books": "80.00", "difference": "0.00", "agrees": True}
    assert once["content_sha256"] == hashlib.sha256(statement(*rows).encode()).hexdigest()
    own = {"id", "created_at"}
    assert {name: once[name] for name in once.keys() - own} == {name: again[name] for name in again.keys() - own}


def test_what_a_line_names_is_found_however_far_from_the_statement_s_days(main: Tenant) -> None:
    early = book(main, "2025-11-01", "100.00").receipt_code
    book(main, "2026-06-01", "20.00", "INV-2")
    book(main, "2026-06-01", "30.00", "INV-3")
    imported = main.submission(OURS, "sales:EUR", "40.00", currency="EUR", idempotency_key="iso_signed:b4")
    main.submit([imported])  # with effect today

    shown = reconcile(
        main,
        f"b1,2026-03-01,{early},,,100.00,100.00",
        "b2,2026-03-02,INV-2,,,20.00,120.00",
        "b3,2026-03-03,,,,30.00,150.00",
        "b4,2026-03-04,,,,40.00,190.00",
    )

    assert told(shown) == [
        ("date_outside_window", 2, "100.00"),
        ("date_outside_window", 3, "20.00"),
        ("date_outside_window", 5, "40.00"),
        ("missing_in_books", 4, None),
    ]
    assert shown["counts"]["total"] == {"lines": 4, "entries": 3}


def test_what_is_only_held_is_not_booked(django_db_setup: None, db: None) -> None:
    books = Books.opened()
    with connect("app") as app:
        app.execute(books.written(INTENT + booking(*held(1000), kind="'hold'"), number=77))
    today = books.bank.get("/v2/transactions").json()["data"][0]["effective_at"][:10]

    rows = (f"b1,{today},,,,100.00,100.00", f"b2,{today},,,,-30.00,70.00")
    shown = reconcile(books.bank, *rows, account="users:alice:USD")

    assert (shown["agrees"], shown["counts"]["total"]) == (True, {"lines": 2, "entries": 2})
    books.owner.close()


def test_a_liability_of_ours_is_compared_on_its_own_side(main: Tenant) -> None:
    main.person("alice")
    main.move("cash:USD", "users:alice:USD", "5.00", effective_at=datetime(2026, 3, 1, tzinfo=UTC))
    main.move("users:alice:USD", "cash:USD", "2.00", effective_at=datetime(2026, 3, 1, tzinfo=UTC))

    rows = ("b1,2026-03-01,,,,5.00,5.00", "b2,2026-03-01,,,,-2,3")
    shown = reconcile(main, *rows, account="users:alice:USD")

    assert shown["agrees"]


def test_the_window_is_the_request_s(main: Tenant) -> None:
    book(main, "2026-03-05", "10.00")
    row = "b1,2026-03-01,,,,10.00,10.00"

    assert told(reconcile(main, row)) == [("missing_in_books", 2, None)]
    assert told(reconcile(main, row, date_window_days=4)) == []
    assert reconcile(main, row, date_window_days=4)["date_window_days"] == 4


def test_the_days_that_a_statement_covers_are_the_request_s(main: Tenant) -> None:
    book(main, "2026-03-01", "10.00")
    book(main, "2026-03-10", "20.00")
    book(main, "2026-03-31", "30.00")
    row = "b1,2026-03-10,,,,20.00,20.00"

    assert told(reconcile(main, row)) == []
    shown = reconcile(main, row, first_date="2026-03-01", last_date="2026-03-31")
    assert told(shown) == [("missing_at_bank", None, "10.00"), ("missing_at_bank", None, "30.00")]
    assert (shown["first_date"], shown["last_date"]) == ("2026-03-01", "2026-03-31")
    assert shown["closing"] == {"bank": "20.00", "books": "60.00", "difference": "-40.00", "agrees": False}


def test_a_mapping_of_ones_own_comes_with_the_request_and_is_kept(main: Tenant) -> None:
    book(main, "2026-03-05", "-1234.50")
    mapping = {
        "delimiter": ";",
        "rounding": "1",
        "columns": {"date": "Datum", "debit": "Soll", "credit": "Haben", "balance": "Saldo"},
        "date": {"format": "DD.MM.YYYY"},
        "number": {"decimal": ",", "thousands": "."},
    }
    content = "Datum;Soll;Haben;Saldo\r\n05.03.2026;1.234,50;;-1.235,50\r\n"

    shown = reconcile(main, mapping=mapping, content=content)

    assert (shown["mapping"], shown["agrees"]) == (mapping, True)
    assert shown["closing"] == {"bank": "-1235.50", "books": "-1234.50", "difference": "-1.00", "agrees": True}


def test_a_bank_that_prints_no_balance_has_none_to_agree_with(main: Tenant) -> None:
    book(main, "2026-03-05", "10.00")
    mapping = {"columns": {"date": "on", "amount": "sum"}, "date": {"format": "YYYY-MM-DD"}}

    shown = reconcile(main, mapping=mapping, content="on,sum\n2026-03-05,10\n")

    assert shown["closing"] == {"bank": None, "books": "10.00", "difference": None, "agrees": True}
    assert shown["agrees"]


def test_the_breaks_are_paged_and_a_list_shows_the_newest_first(main: Tenant) -> None:
    older = reconcile(main, "b0,2026-03-01,,,,1.00,1.00")
    newer = reconcile(main, *(f"b{number},2026-03-01,,,,1.00,1.00" for number in range(5)))

    page, lines = main.get(f"{URL}/{newer['id']}?limit=2").json(), []
    while True:
        lines.append([one["line"]["number"] for one in page["breaks"]["data"]])
        if page["breaks"]["next_cursor"] is None:
            break
        page = main.get(f"{URL}/{newer['id']}?limit=2&cursor={page['breaks']['next_cursor']}").json()
    assert lines == [[2, 3], [4, 5], [6]]

    listed = main.get(URL).json()["data"]
    assert [row["id"] for row in listed] == [newer["id"], older["id"]]
    assert listed[1] == {name: value for name, value in older.items() if name != "breaks"}


def test_a_key_reconciles_once_and_belongs_to_its_statement(main: Tenant) -> None:
    key, asked = str(uuid4()), body("b1,2026-03-01,,,,1.00,1.00")
    first = main.post(URL, asked, key=key)
    book(main, "2026-03-01", "1.00")
    again = main.post(URL, asked, key=key)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again["Idempotent-Replayed"] == "true"
    assert (again.json(), again["Location"]) == (first.json(), first["Location"])
    other = main.post(URL, asked | {"date_window_days": 4}, key=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert Reconciliation.objects.filter(client=main.client).count() == 1
    assert main.http().post(URL, data=asked, content_type="application/json").status_code == 201
    assert Reconciliation.objects.filter(client=main.client).count() == 2


def test_requests_with_one_key_at_once_make_one_reconciliation(main: Tenant) -> None:
    key, asked = str(uuid4()), body(GOOD, GOOD)
    # While somebody has the key's lock, both compare the statement, and wait with what they have found.
    with connect("app") as holder, ThreadPoolExecutor(2) as pool:
        holder.execute("BEGIN")
        ask_for_keys(holder.cursor(), shared=(), alone=[(main.client.pk, key)])
        posts = [pool.submit(in_thread, lambda: main.post(URL, asked, key=key)) for _ in range(2)]
        while waiting_for_locks() < 2:
            assert not any(post.done() for post in posts)
        holder.execute("ROLLBACK")
        answers = [post.result() for post in posts]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert sorted("Idempotent-Replayed" in answer for answer in answers) == [False, True]
    assert Reconciliation.objects.filter(client=main.client).count() == 1
    assert ReconciliationBreak.objects.filter(reconciliation__client=main.client).count() == 2


PLAIN = {"columns": {"date": "date", "amount": "amount"}, "date": {"format": "YYYY-MM-DD"}}
REFUSED = {
    "an unknown account": (body(GOOD, account="banks:none:EUR"), "account_unknown", "/account"),
    "an unknown mapping": (body(GOOD, mapping="hsbc"), "mapping_unknown", "/mapping"),
    "a path for a mapping": (body(GOOD, mapping="../mappings/pkdd99"), "mapping_unknown", "/mapping"),
    "a mapping of another currency": (body(GOOD, mapping="pkdd99"), "currency_mismatch", "/mapping"),
    "an unknown field of a mapping": (body(GOOD, mapping=PLAIN | {"x": 1}), "field_unknown", "/mapping/x"),
    "a mapping without columns": (
        body(GOOD, mapping={"date": PLAIN["date"]}),
        "field_missing",
        "/mapping/columns",
    ),
    "a date that cannot be": (
        body(GOOD, mapping=PLAIN | {"date": {"format": "YYYY"}}),
        "field_invalid",
        "/mapping/date",
    ),
    "a mapping that contradicts itself": (
        body(GOOD, mapping=PLAIN | {"header": False}),
        "field_invalid",
        "/mapping",
    ),
    "a mapping that is a list": (body(GOOD, mapping=[]), "field_type", "/mapping"),
    "a window too wide": (body(GOOD, date_window_days=32), "field_range", "/date_window_days"),
    "a window before today": (body(GOOD, date_window_days=-1), "field_range", "/date_window_days"),
    "a line before the first day": (body(GOOD, first_date="2026-03-02"), "statement_outside_dates", "/first_date"),
    "a line after the last day": (body(GOOD, last_date="2026-02-28"), "statement_outside_dates", "/last_date"),
    "a day that no calendar has": (body(GOOD, last_date="2026-02-30"), "field_format", "/last_date"),
    "a day beyond all statements": (body(GOOD, last_date="9999-12-31"), "field_range", "/last_date"),
    "a day before all statements": (body(GOOD, first_date="0001-01-01"), "field_range", "/first_date"),
    "no content": (body(GOOD, content=""), "field_length", "/content"),
    "no lines": (body(), "statement_empty", "/content"),
    "another header": (body(GOOD, content="a,b\n"), "statement_malformed", "/content"),
    "a line that does not fit": (body(GOOD, "b2,2026-02-30,,,,1.00,1.00"), "statement_malformed", "/content"),
    "lines of two accounts": (
        body(
            mapping=PLAIN | {"columns": {"date": "d", "amount": "s", "account": "a"}},
            content="a,d,s\n1,2026-03-01,1\n2,2026-03-01,1\n",
        ),
        "statement_of_many_accounts",
        "/content",
    ),
    "an unknown field": (body(GOOD, window=3), "field_unknown", "/window"),
}


@pytest.mark.parametrize(("asked", "code", "pointer"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_compared_is_refused_and_nothing_is_stored(
    main: Tenant, asked: dict[str, Any], code: str, pointer: str
) -> None:
    key = str(uuid4())

    answer = main.post(URL, asked, key=key)

    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["errors"][0]["pointer"]) == (422, code, pointer), problem
    assert not Reconciliation.objects.filter(client=main.client).exists()
    assert main.post(URL, body(GOOD), key=key).status_code == 201, "the key was not used"


def test_every_malformed_line_is_named_by_its_number(main: Tenant) -> None:
    problem = main.post(URL, body(GOOD, "b2,1.3.2026,,,,1,1", GOOD, "nonsense")).json()

    assert problem["line"] == 3
    assert [error["detail"] for error in problem["errors"]] == [
        "Line 3: date '1.3.2026' is no date YYYY-MM-DD.",
        "Line 5: it has 1 fields, not 7.",
    ]


def test_too_much_is_refused_with_codes_of_its_own(main: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"b{number},2026-03-01,,,,1.00,1.00" for number in range(reconciliations.LINES_MAX + 1)]
    assert main.post(URL, body(*rows)).json()["code"] == "lines_too_many"
    assert main.post(URL, body(content="x" * (1 << 20))).json()["code"] == "body_too_large"

    for _ in range(3):
        book(main, "2026-03-01", "1.00")
    monkeypatch.setattr(reconciliations, "ENTRIES_MAX", 3)
    assert main.post(URL, body(GOOD)).status_code == 201
    monkeypatch.setattr(reconciliations, "ENTRIES_MAX", 2)
    assert main.post(URL, body(GOOD)).json()["code"] == "entries_too_many"
    assert Reconciliation.objects.filter(client=main.client).count() == 1


def test_another_client_sees_nothing_of_it_and_may_not_name_the_account(main: Tenant, other_bank: Tenant) -> None:
    made = main.post(URL, body(GOOD))

    assert other_bank.get(made["Location"]).status_code == 404
    assert other_bank.get(URL).json()["data"] == []
    assert other_bank.post(URL, body(GOOD)).json()["code"] == "account_unknown"
    assert other_bank.post(URL, body(GOOD, account=made.json()["account"]["id"])).json()["code"] == "account_unknown"


def test_role_app_changes_no_reconciliation(main: Tenant) -> None:
    main.post(URL, body(GOOD))
    for table, column in (("ledger_reconciliation", "agrees = true"), ("ledger_reconciliationbreak", "line = NULL")):
        for change in (f"UPDATE {table} SET {column}", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with connect("app") as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(change)


def test_the_kinds_are_those_of_the_counts(main: Tenant) -> None:
    counts = main.post(URL, body(GOOD)).json()["counts"]

    assert counts.keys() - {"total"} == {verdict.value for verdict in Verdict}
