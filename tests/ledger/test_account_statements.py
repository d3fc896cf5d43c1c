"""An account's statement: its range, its lines and its sums; whole, and the same however often it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connections, transaction
from hypothesis import given
from hypothesis import strategies as st

from config.localstack.processes import wait_until
from config.runtime.clock import now, rfc3339
from config.runtime.ids import uuid7
from config.runtime.logging import unit_of_work
from ledger import locks
from ledger.domain.accounts import AccountRef
from ledger.domain.legs import pair
from ledger.domain.money import parse_limit
from ledger.models import Entry
from ledger.posting.engine import settle
from ledger.posting.intents import Intent
from ledger.queries import account_statements
from ledger.queries.account_statements import account_statement
from ledger.queries.accounts import find_account
from ledger.services.submissions import LegAsked, Submission
from tests.ledger.drawn import examples
from tests.ledger.hostile import Books
from tests.ledger.locks import in_thread, locked, waiting_for_locks
from tests.ledger.model.asks import amount_text
from tests.ledger.test_holds import capture, held, void
from tests.ledger.test_reversals import reverse
from tests.people import Tenant

MICROSECOND = timedelta(microseconds=1)
YESTERDAY = timedelta(days=1)
SIDES = ("debit", "credit")
Busy = tuple[Tenant, list[Any], list[Entry]]


def ask(bank: Tenant, account: Any, **parameters: Any) -> Any:
    """GET a statement; moments may be given as such."""
    texts = {name.rstrip("_"): rfc3339(at) if isinstance(at, datetime) else at for name, at in parameters.items()}
    return bank.get(f"/v2/accounts/{account.id}/statement?{urlencode(texts)}")


def booked(account: Any) -> list[Entry]:
    return list(Entry.objects.filter(account__public_id=account.id).order_by("account_version"))


def minor(amount: str) -> int:
    return parse_limit(amount, exponent=2)


def sums_up(statement: dict[str, Any]) -> bool:
    """Whether each balance follows from the one before and its line, from the opening one to the closing one."""
    normal_side = "debit" if statement["kind"] in {"asset", "expense"} else "credit"
    balance = minor(statement["opening"]["balance"])
    for one in statement["lines"]:
        balance += minor(one["amount"]) * (1 if one["side"] == normal_side else -1)
        if minor(one["balance_after"]) != balance:
            return False
    turnover = {side: [minor(one["amount"]) for one in statement["lines"] if one["side"] == side] for side in SIDES}
    return balance == minor(statement["closing"]["balance"]) and all(
        (statement[f"{side}s"]["lines"], minor(statement[f"{side}s"]["amount"])) == (len(amounts), sum(amounts))
        for side, amounts in turnover.items()
    )


def test_a_statement_tells_everything_of_its_lines(bank: Tenant) -> None:
    alice, cash = bank.person("alice"), bank.account("cash:USD")
    effective_at = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
    paid = bank.move("cash:USD", alice.path, "10.00", type="cash_in", effective_at=effective_at).transaction
    bought = bank.move(alice.path, "cash:USD", "2.50", reference="invoice 7", description="Tea").transaction
    first, second = booked(alice)

    statement = ask(bank, alice).json()

    until = statement.pop("to")
    shared = {"journal_kind": "post", "line": 2, "counterparties": [{"id": str(cash.id), "path": "cash:USD"}]}
    assert statement == {
        "account": {"id": str(alice.id), "path": "users:alice:USD"},
        "kind": "liability",
        "currency": "USD",
        "from": alice.created_at,
        "opening": {"balance": "0.00", "version": 0},
        "closing": {"balance": "7.50", "version": 2},
        "debits": {"lines": 1, "amount": "2.50"},
        "credits": {"lines": 1, "amount": "10.00"},
        "lines": [
            shared
            | {
                "account_version": 1,
                "journal_id": str(first.journal_id),
                "posted_at": rfc3339(first.posted_at),
                "effective_at": "2026-01-31T23:30:00.000000Z",
                "transaction_id": str(paid.id),
                "receipt_code": paid.receipt_code,
                "type": "cash_in",
                "reference": None,
                "description": None,
                "side": "credit",
                "amount": "10.00",
                "balance_after": "10.00",
            },
            shared
            | {
                "account_version": 2,
                "journal_id": str(second.journal_id),
                "line": 1,
                "posted_at": rfc3339(second.posted_at),
                "effective_at": bought.effective_at,
                "transaction_id": str(bought.id),
                "receipt_code": bought.receipt_code,
                "type": "transfer",
                "reference": "invoice 7",
                "description": "Tea",
                "side": "debit",
                "amount": "2.50",
                "balance_after": "7.50",
            },
        ],
    }
    assert rfc3339(second.posted_at) < until < rfc3339(now() + timedelta(seconds=5))


def test_an_asset_s_statement_is_on_its_normal_side(bank: Tenant) -> None:
    bank.person("alice", holding="10.00")
    bank.move("users:alice:USD", "cash:USD", "4.00")

    statement = ask(bank, bank.account("cash:USD")).json()

    assert [(one["side"], one["balance_after"]) for one in statement["lines"]] == [
        ("debit", "10.00"),
        ("credit", "6.00"),
    ]
    assert statement["closing"]["balance"] == "6.00"
    assert sums_up(statement)


def test_from_is_within_and_to_is_not(bank: Tenant) -> None:
    alice = bank.person("alice")
    for amount in ("1.00", "2.00", "4.00"):
        bank.move("cash:USD", alice.path, amount)
    first, second, third = (one.posted_at for one in booked(alice))

    def amounts(since: datetime, until: datetime) -> list[str]:
        return [one["amount"] for one in ask(bank, alice, from_=since, to=until).json()["lines"]]

    assert amounts(first, third) == ["1.00", "2.00"]
    assert amounts(first + MICROSECOND, third + MICROSECOND) == ["2.00", "4.00"]
    assert amounts(second, second + MICROSECOND) == ["2.00"]
    assert amounts(first - YESTERDAY, first) == []


def test_statements_that_meet_fit_together(bank: Tenant) -> None:
    alice = bank.person("alice")
    for amount in ("1.00", "2.00", "4.00", "8.00"):
        bank.move("cash:USD", alice.path, amount)
    at = [one.posted_at for one in booked(alice)]

    whole = ask(bank, alice, to=at[3]).json()
    parts = [ask(bank, alice, to=at[1]).json(), ask(bank, alice, from_=at[1], to=at[3]).json()]

    assert parts[0]["closing"] == parts[1]["opening"] == {"balance": "1.00", "version": 1}
    assert parts[0]["lines"] + parts[1]["lines"] == whole["lines"]
    assert (parts[0]["opening"], parts[1]["closing"]) == (whole["opening"], whole["closing"])


def test_a_date_is_its_first_moment_in_utc(bank: Tenant) -> None:
    alice = bank.person("alice", holding="1.00")
    statement = ask(bank, alice, from_="2026-02-01", to="2026-03-01").json()
    assert (statement["from"], statement["to"]) == ("2026-02-01T00:00:00.000000Z", "2026-03-01T00:00:00.000000Z")
    shown = ask(bank, alice, from_="2026-02-01T01:00:00+02:00", to="2026-03-01").json()
    assert shown["from"] == "2026-01-31T23:00:00.000000Z"
    assert ask(bank, alice, from_="0001-01-01").json()["closing"]["balance"] == "1.00"


@pytest.fixture(scope="module")
def busy(django_db_setup, django_db_blocker) -> Iterator[Busy]:
    """A bank, two of its accounts on different normal sides, and the lines of the first: some booked together, some
    only held, some captured, let go or taken back."""
    with django_db_blocker.unblock():
        bank = Tenant.new()
        alice, bob = bank.open("users:alice:USD", floor="-500.00"), bank.open("users:bob:USD", kind="asset")
        for round_number in range(8):
            pairs = [(bob.path, alice.path) if (round_number + n) % 3 else (alice.path, bob.path) for n in range(4)]
            bank.submit([bank.submission(*pair, f"{n + 1}.{round_number:02}") for n, pair in enumerate(pairs)])
            hold = held(bank, "5.00")
            if round_number % 2:
                capture(bank, hold, "1.25")
                capture(bank, hold, "0.75", final=True)
                reverse(bank, hold, "0.50")
            elif round_number % 4:
                void(bank, hold)
        yield bank, [alice, bob], booked(alice)
        connections.close_all()


PLACES = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(-2, 2))


@examples(40)
@given(first=PLACES, second=PLACES, which=st.integers(0, 1))
def test_opening_plus_lines_is_closing_for_any_range(db, busy: Busy, first: Any, second: Any, which: int) -> None:
    """What alice's account is credited bob's is debited: on their normal sides both have the same balance."""
    bank, accounts, lines = busy
    bounds = sorted(lines[int(at * len(lines))].posted_at + shift * MICROSECOND for at, shift in (first, second))
    since, until = bounds[0], max(bounds[1], bounds[0] + MICROSECOND)

    statement = ask(bank, accounts[which], from_=since, to=until).json()

    before = [one for one in lines if one.posted_at < since]
    within = [one for one in lines if since <= one.posted_at < until]
    assert sums_up(statement)
    opening = -sum(one.amount_minor for one in before if one.layer == "posted")
    assert statement["opening"] == {"balance": amount_text(opening, "USD"), "version": len(before)}
    assert statement["closing"]["version"] == len(before) + len(within)
    told = [str(one.journal_id) for one in within if one.layer == "posted"]
    assert [one["journal_id"] for one in statement["lines"]] == told


@pytest.fixture
def books(db) -> Iterator[Books]:
    opened = Books.opened()
    yield opened
    opened.owner.close()


def test_what_is_held_is_no_line_until_it_is_captured(bank: Tenant) -> None:
    alice = bank.person("alice", holding="10.00")
    bank.person("bob")
    hold = held(bank, "6.00")
    assert [one["balance_after"] for one in ask(bank, alice).json()["lines"]] == ["10.00"]
    capture(bank, hold, "2.50", final=True)

    statement = ask(bank, alice).json()

    captured = statement["lines"][-1]
    assert [one["balance_after"] for one in statement["lines"]] == ["10.00", "7.50"]
    assert (captured["journal_kind"], captured["side"], captured["amount"]) == ("capture", "debit", "2.50")
    assert [account["path"] for account in captured["counterparties"]] == ["users:bob:USD"]
    versions = [one.account_version for one in booked(alice) if one.layer == "posted"]
    assert [one["account_version"] for one in statement["lines"]] == versions != [1, 2]


def test_the_counterparties_of_legs_are_on_the_other_side_and_at_most_ten(bank: Tenant) -> None:
    bank.person("alice", holding="1.00")
    paths = [bank.open(f"box:{number:02}").path for number in range(12)]
    shares = [LegAsked(account=path, side="credit", amount="0.01", currency="USD") for path in paths]
    paid = LegAsked(account="users:alice:USD", side="debit", amount="0.12", currency="USD")
    bank.submit([Submission(type="transfer", legs=(*shares, paid))])

    row = bank.balance(bank.account("users:alice:USD"))
    statement = account_statement(row, since=None, until=None)

    assert [account.path for account in statement.lines[-1].counterparties] == paths[:10]


def test_a_reader_and_a_writer_at_once_agree(bank: Tenant) -> None:
    """Each statement adds up, and none changes once it was given."""
    alice = bank.person("alice")
    is_over = Event()

    def write() -> None:
        while not is_over.is_set():
            bank.submit([bank.submission("cash:USD", alice.path, "0.01") for _ in range(5)])

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(in_thread, write)
        given = [ask(bank, alice).json() for _ in range(25)]
        is_over.set()
        writing.result()

    assert given[-1]["closing"]["version"] > given[0]["closing"]["version"]
    for statement in given:
        assert sums_up(statement)
        assert ask(bank, alice, from_=statement["from"], to=statement["to"]).json() == statement


def ref(bank: Tenant, path: str) -> AccountRef:
    found = find_account(bank.client.pk, path)
    assert found is not None
    return found


def test_a_booking_that_is_not_committed_yet_is_waited_for(bank: Tenant) -> None:
    alice = bank.person("alice")
    intent = Intent(
        id=uuid7(),
        client_id=bank.client.pk,
        type="cash_in",
        amount_minor=500,
        legs=pair(ref(bank, "cash:USD"), ref(bank, alice.path), 500),
        actor="test",
    )
    is_written, may_commit = Event(), Event()

    def post() -> None:
        with transaction.atomic(durable=True):
            settle([intent])
            is_written.set()
            may_commit.wait(10)

    with ThreadPoolExecutor(2) as pool:
        posting = pool.submit(in_thread, post)
        assert is_written.wait(10)
        until = now()
        asked = pool.submit(in_thread, partial(ask, bank, alice, to=until))
        assert wait_until(lambda: waiting_for_locks() == 1, timeout_s=4)
        may_commit.set()
        posting.result()
        statement = asked.result().json()

    assert [one["amount"] for one in statement["lines"]] == ["5.00"]


def test_a_range_that_is_over_for_the_account_waits_for_nobody(bank: Tenant) -> None:
    alice = bank.person("alice", holding="1.00")
    bank.move(alice.path, "cash:USD", "1.00")
    last = booked(alice)[-1].posted_at
    with locked(alice):
        statement = ask(bank, alice, to=last).json()
    assert [one["amount"] for one in statement["lines"]] == ["1.00"]


def test_an_account_that_stays_locked_is_not_waited_for_without_end(
    bank: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SET_LOCK_TIMEOUT", locks.SET_LOCK_TIMEOUT.replace("5s", "50ms"))
    alice = bank.person("alice", holding="1.00")
    with locked(alice):
        answer = ask(bank, alice)
    assert (answer.status_code, answer.json()["code"]) == (503, "lock_timeout")


def test_one_statement_costs_as_many_queries_as_another(bank: Tenant) -> None:
    alice = bank.person("alice")
    counts = []
    for lines in (1, 200):
        payers = [bank.open(f"box:{lines}:{number}", kind="asset").path for number in range(lines)]
        bank.submit([bank.submission(payer, alice.path, "1.00") for payer in payers])
        row = bank.balance(alice)
        with unit_of_work("statement") as unit:
            assert len(account_statement(row, since=None, until=None).lines) >= lines
        counts.append(unit.db_queries)
    # The end that is settled and its bound, two balances, the lines and their plan, and the names of accounts.
    assert counts == [7, 7]


def test_too_long_a_statement_says_how_far_it_may_go(bank: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = bank.person("alice")
    for amount in ("1.00", "2.00", "4.00", "8.00", "16.00"):
        bank.move("cash:USD", alice.path, amount)
    at = [one.posted_at for one in booked(alice)]
    monkeypatch.setattr(account_statements, "LINES_MAX", 2)

    refused = ask(bank, alice)

    assert (refused.status_code, refused.json()["code"]) == (422, "statement_too_long")
    assert (refused.json()["lines_max"], refused.json()["to"]) == (2, rfc3339(at[2]))
    first = ask(bank, alice, to=refused.json()["to"]).json()
    assert [one["amount"] for one in first["lines"]] == ["1.00", "2.00"]
    rest = ask(bank, alice, from_=first["to"], to=at[4]).json()
    assert [one["amount"] for one in rest["lines"]] == ["4.00", "8.00"]


def test_held_lines_do_not_make_a_statement_too_long(bank: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = bank.person("alice", holding="10.00")
    bank.person("bob")
    held(bank, "6.00")
    monkeypatch.setattr(account_statements, "LINES_MAX", 1)
    statement = ask(bank, alice).json()
    assert (len(statement["lines"]), statement["closing"]["version"]) == (1, 2)


REFUSED: dict[str, tuple[dict[str, str] | str, int, str, list[tuple[str, str]]]] = {
    "an unknown parameter": ("limit=5", 400, "parameters_refused", [("limit", "parameter_unknown")]),
    "a form by parameter": ("format=csv", 400, "parameters_refused", [("format", "parameter_unknown")]),
    "an empty parameter": ("from=", 400, "parameters_refused", [("from", "parameter_empty")]),
    "a parameter twice": ("to=2026-01-01&to=2026-01-01", 400, "parameters_refused", [("to", "parameter_repeated")]),
    "a time without offset": ("from=2026-01-01T00:00:00", 400, "parameters_refused", [("from", "parameter_invalid")]),
    "a plus that is a space": (
        "to=2026-01-01T00:00:00+01:00",
        400,
        "parameters_refused",
        [("to", "parameter_invalid")],
    ),
    "no such day": ("from=2026-02-30", 400, "parameters_refused", [("from", "parameter_invalid")]),
    "two wrong bounds": (
        "from=yesterday&to=2026-1-1",
        400,
        "parameters_refused",
        [("from", "parameter_invalid"), ("to", "parameter_invalid")],
    ),
    "an end before the beginning": (
        "from=2026-02-01&to=2026-01-01",
        422,
        "statement_range_empty",
        [("from", "statement_range_empty")],
    ),
    "no time at all": (
        "from=2026-01-01&to=2026-01-01",
        422,
        "statement_range_empty",
        [("from", "statement_range_empty")],
    ),
    "a beginning that has not come": (
        "from=9999-01-01",
        422,
        "statement_range_empty",
        [("from", "statement_range_empty")],
    ),
    "an end that has not come": ("to=9999-12-31", 422, "statement_in_future", [("to", "statement_in_future")]),
}


@pytest.mark.parametrize(("query", "status", "code", "errors"), REFUSED.values(), ids=REFUSED)
def test_a_range_that_cannot_be_is_refused(bank: Tenant, query: str, status: int, code: str, errors: Any) -> None:
    answer = bank.get(f"/v2/accounts/{bank.account('cash:USD').id}/statement?{query}")
    assert answer["Content-Type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == errors


def test_another_client_s_account_has_no_statement(bank: Tenant, other_bank: Tenant) -> None:
    answer = ask(other_bank, bank.account("cash:USD"))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_statement_needs_the_scope_of_accounts(db) -> None:
    poor = Tenant.new(scopes=["transactions:read"])
    answer = ask(poor, poor.account("cash:USD"))
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


def test_a_type_that_is_not_given_is_refused(bank: Tenant) -> None:
    url = f"/v2/accounts/{bank.account('cash:USD').id}/statement"
    answer = bank.http(Accept="application/pdf").get(url)
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
    assert bank.http(Accept="application/pdf, */*;q=0.1").get(url)["Content-Type"] == "application/json"
