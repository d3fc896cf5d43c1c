"""The chart of accounts: its parts by whole segments of paths, and the trial balance of all of it, now and then."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection, transaction

from config.runtime.clock import now, rfc3339
from ledger.domain.shapes import CurrencyTotalsShape
from ledger.models import Entry
from ledger.queries.accounts import accounts_below, accounts_of
from ledger.queries.balances import trial_balance
from ledger.services.accounts import Opening, open_accounts
from tests.ledger.locks import in_thread
from tests.ledger.test_accounts_api import pages
from tests.people import Tenant

BELOW = ["users:alice", "users:alice:EUR", "users:alice:USD", "users:alice:savings:2026"]
BESIDE = ["users", "users:alic", "users:alice+1:USD", "users:alice-2", "users:alice.b", "users:alice2:USD", "users:bob"]


def chart(bank: Tenant, query: str) -> list[str]:
    return [row["path"] for row in bank.get(f"/v2/accounts?{query}").json()["data"]]


@pytest.fixture
def accounts(bank: Tenant) -> Tenant:
    for path in (*BESIDE, *reversed(BELOW)):
        bank.open(path, user_id="alice" if path in BELOW else None, currency="EUR" if "EUR" in path else "USD")
    return bank


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("path_prefix=users:alice", BELOW),
        ("path_prefix=users", sorted([*BELOW, *BESIDE])),
        ("path_prefix=users:alice:savings", ["users:alice:savings:2026"]),
        ("path_prefix=users:alice:savings:2026", ["users:alice:savings:2026"]),
        ("path_prefix=users:alice%2B1", ["users:alice+1:USD"]),
        ("path_prefix=users:Alice", []),
        ("path_prefix=alice", []),
        ("path_prefix=users:alice&currency=EUR", ["users:alice:EUR"]),
        ("path_prefix=users&user_id=alice", BELOW),
        ("path_prefix=users&user_id=bob", []),
        ("path_prefix=users:alice&path=users:alice:USD", ["users:alice:USD"]),
        ("path_prefix=users:alice&path=users:bob", []),
    ],
)
def test_a_prefix_means_whole_segments(accounts: Tenant, query: str, paths: list[str]) -> None:
    assert chart(accounts, query) == paths


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
@pytest.mark.parametrize("prefix", ["users", "users:alice"])
def test_a_part_of_the_chart_turns_its_pages_in_the_order_of_paths(accounts: Tenant, prefix: str, limit: int) -> None:
    url = f"/v2/accounts?path_prefix={prefix}&limit={limit}"
    expected = sorted([*BELOW, *BESIDE]) if prefix == "users" else BELOW

    found = pages(accounts, url)

    assert [row["path"] for page in found for row in page] == expected
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
    first = accounts.get(url).json()
    if first["next_cursor"]:
        second = accounts.get(f"{url}&cursor={first['next_cursor']}").json()
        assert accounts.get(f"{url}&cursor={second['prev_cursor']}").json()["data"] == first["data"]


def test_a_cursor_of_the_longest_path_is_taken_back(bank: Tenant) -> None:
    paths = [":".join([*["a" * 63] * 3, f"{'b' * 61}{end}"]) for end in ("++", "+@")]
    for path in paths:
        assert len(bank.open(path).path) == 255
    found = pages(bank, f"/v2/accounts?path_prefix={'a' * 63}&limit=1")
    assert [row["path"] for page in found for row in page] == paths


def test_a_cursor_of_one_part_of_the_chart_is_none_of_another(accounts: Tenant) -> None:
    cursor = accounts.get("/v2/accounts?path_prefix=users:alice&limit=1").json()["next_cursor"]
    answer = accounts.get(f"/v2/accounts?path_prefix=users&limit=1&cursor={cursor}")
    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_mismatch")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "parameter_empty"),
        ("users:", "parameter_invalid"),
        (":users", "parameter_invalid"),
        ("users::alice", "parameter_invalid"),
        ("users:a%25", "parameter_invalid"),
        ("users alice", "parameter_invalid"),
        ("a" * 65, "parameter_invalid"),
        (":".join(["a" * 63] * 4) + "a", "parameter_invalid"),
    ],
)
def test_a_prefix_that_is_no_path_is_refused(bank: Tenant, text: str, code: str) -> None:
    answer = bank.get(f"/v2/accounts?path_prefix={text}")
    assert (answer.status_code, answer.json()["code"]) == (400, "parameters_refused")
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [("path_prefix", code)]


def test_the_index_of_paths_serves_a_prefix_in_its_order(bank: Tenant) -> None:
    openings = [Opening(path=f"users:u{number:04}:USD", currency="USD", kind="liability") for number in range(2_000)]
    open_accounts(client_id=bank.client.pk, openings=openings)
    below = accounts_below(accounts_of(bank.client.pk), "users:u0777")[1].order_by("path")[:51]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(
            f"EXPLAIN {below.query}".replace("users:u0777:", "'users:u0777:'").replace("users:u0777;", "'users:u0777;'")
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index Scan using account_path_once on ledger_account" in plan
    assert "((path)::text > 'users:u0777:'::text) AND ((path)::text < 'users:u0777;'::text)" in plan
    assert "Sort" not in plan


def totals(bank: Tenant, query: str = "") -> Any:
    """Return the totals by currency: of each kind and of all, debit and credit, and whether they balance."""
    answer = bank.get(f"/v2/trial-balance{query}")
    assert answer.status_code == 200, answer.content
    return {
        one["currency"]: (
            [(kind["kind"], kind["debit"], kind["credit"]) for kind in one["kinds"]],
            (one["debit"], one["credit"], one["balanced"]),
        )
        for one in answer.json()["currencies"]
    }


def test_the_trial_balance_adds_up_every_kind_of_every_currency(bank: Tenant, other_bank: Tenant) -> None:
    alice, bob = bank.person("alice", holding="10.00"), bank.open("users:bob:USD", floor="-5.00")
    for path, kind in (("capital", "equity"), ("fees:USD", "income"), ("rent", "expense")):
        bank.open(path, kind=kind)
    bank.open("cash:JPY", kind="asset", currency="JPY")
    bank.open("users:alice:JPY", currency="JPY")
    bank.open("empty:EUR", kind="asset", currency="EUR")
    bank.move("cash:USD", "capital", "100.00")
    bank.move(alice.path, "fees:USD", "0.50")
    bank.move("rent", "cash:USD", "7.00")
    bank.move(bob.path, "cash:USD", "3.00")
    bank.move("cash:JPY", "users:alice:JPY", "500", currency="JPY")
    other_bank.person("mallory", holding="77.00")

    assert totals(bank) == {
        "EUR": ([("asset", "0.00", "0.00")], ("0.00", "0.00", True)),
        "JPY": ([("asset", "500", "0"), ("liability", "0", "500")], ("500", "500", True)),
        "USD": (
            [
                ("asset", "100.00", "0.00"),
                ("liability", "3.00", "9.50"),
                ("equity", "0.00", "100.00"),
                ("income", "0.00", "0.50"),
                ("expense", "7.00", "0.00"),
            ],
            ("110.00", "110.00", True),
        ),
    }


def test_the_trial_balance_is_known_at_every_moment(bank: Tenant) -> None:
    alice, bob = bank.person("alice"), bank.person("bob")
    for number in range(1, 8):
        bank.move("cash:USD", (alice if number % 3 else bob).path, f"{number}.00")
    moments = list(
        Entry.objects.filter(account__client=bank.client, line=1)
        .order_by("posted_at")
        .values_list("posted_at", flat=True)
    )

    for number, moment in enumerate(moments, 1):
        total = f"{number * (number + 1) // 2}.00"
        kinds = [("asset", total, "0.00"), ("liability", "0.00", total)]
        assert totals(bank, f"?at={rfc3339(moment)}") == {"USD": (kinds, (total, total, True))}
        before = f"{number * (number - 1) // 2}.00"
        shown = totals(bank, f"?at={rfc3339(moment - timedelta(microseconds=1))}")
        assert shown["USD"][1] == (before, before, True)
    assert totals(bank) == totals(bank, f"?at={rfc3339(moments[-1])}")


@pytest.mark.parametrize("url", ["/v2/trial-balance", "/v2/accounts/{alice}/balance"])
def test_what_will_have_been_booked_nobody_knows(bank: Tenant, url: str) -> None:
    address = url.format(alice=bank.person("alice").id)
    answer = bank.get(f"{address}?at={rfc3339(now() + timedelta(days=1))}")
    assert (answer.status_code, answer.json()["code"]) == (422, "balance_in_future")


def test_before_the_first_booking_everything_stood_at_zero(bank: Tenant) -> None:
    bank.person("alice", holding="10.00")
    kinds = [("asset", "0.00", "0.00"), ("liability", "0.00", "0.00")]
    assert totals(bank, "?at=0999-01-01T00:00:00Z") == {"USD": (kinds, ("0.00", "0.00", True))}
    answer = bank.get(f"/v2/trial-balance?at={quote('2026-01-01T00:00:00+02:00')}").json()
    assert answer["at"] == "2025-12-31T22:00:00.000000Z"


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("at=2026-01-01T00:00:00", "at", "parameter_invalid"),
        ("at=2026-01-01", "at", "parameter_invalid"),
        ("at=2026-13-01T00:00:00Z", "at", "parameter_invalid"),
        ("at=2026-01-01T00:00:00+02:00", "at", "parameter_invalid"),
        ("at=now", "at", "parameter_invalid"),
        ("at=", "at", "parameter_empty"),
        ("at=2026-01-01T00:00:00Z&at=2026-01-02T00:00:00Z", "at", "parameter_repeated"),
        ("currency=USD", "currency", "parameter_unknown"),
    ],
)
@pytest.mark.parametrize("address", ["trial-balance", "balance"])
def test_a_malformed_moment_is_refused(bank: Tenant, address: str, query: str, pointer: str, code: str) -> None:
    url = "/v2/trial-balance" if address == "trial-balance" else f"/v2/accounts/{bank.account('cash:USD').id}/balance"
    answer = bank.get(f"{url}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "parameters_refused")
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]


def test_while_bookings_run_the_trial_balance_balances_and_stays_as_it_was_told(bank: Tenant) -> None:
    people = [bank.person(f"user-{number}") for number in range(8)]
    over = False

    def book(first: int) -> int:
        booked = 0
        while not over:
            account = people[(first + booked) % len(people)]
            booked += bank.move("cash:USD", account.path, "1.00").transaction.status == "completed"
        return booked

    def looked(at: datetime | None) -> CurrencyTotalsShape:
        return trial_balance(bank.client.pk, at, now=now()).currencies[0]

    moments, current, past = [], [], []
    with ThreadPoolExecutor(3) as pool:
        booking = [pool.submit(in_thread, partial(book, first)) for first in range(3)]
        until = time.monotonic() + 2
        while time.monotonic() < until:
            moments.append(now() - timedelta(seconds=0.5))
            current.append(looked(None))
            past.append(looked(moments[-1]))
        over = True
        booked = sum(one.result() for one in booking)

    assert len(moments) >= 10
    assert all(one.balanced for one in (*current, *past))
    sums = [float(one.debit) for one in current]
    assert sums == sorted(sums)
    assert sums[0] < sums[-1]
    assert [looked(moment) for moment in moments] == past
    assert looked(None).debit == f"{booked}.00"
