"""Balances by effective time: what took effect by a moment, as it was known at another; and this never changes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from config.runtime.clock import now, rfc3339
from ledger.models import TimeShift
from ledger.queries.accounts import get_account
from ledger.queries.balances import balance_at
from ledger.queries.invariants import verify
from tests.apart import DATABASE
from tests.conftest import owner_connection
from tests.ledger.hostile import DENIED, connect
from tests.people import Tenant

LINES = """
SELECT j.effective_at, e.posted_at, e.layer, -e.amount_minor, j.kind
FROM ledger_entry e JOIN ledger_journal j ON j.id = e.journal_id JOIN ledger_account a ON a.id = e.account_id
WHERE a.public_id = %s
"""
# Seconds from now at which a booking takes effect: around the ten seconds that decide where it is looked for, up to the
# five minutes ahead that a clock may be wrong, and long ago.
APART_S = [0, -1, -9, -9.9, -10, -10.1, -11, -15, 1, 9, 9.9, 10.5, 11, 250, -3600, -86_400, -86_400 * 365 * 30]
HELD_S = {0, -9, -3600, 9.9, 250}


def hold_and_end(bank: Tenant, way: tuple[str, str], moment: datetime, chance: random.Random) -> None:
    """Hold something that takes effect then, and leave it, let it go or capture a part of it."""
    transaction = bank.move(*way, f"0.{chance.randint(10, 99)}", effective_at=moment, capture="manual").transaction
    end = chance.choice([None, "capture", "void"])
    if end is not None:
        body = {"amount": "0.03"} if end == "capture" else {}
        assert bank.post(f"/v2/transactions/{transaction.id}/{end}", body).status_code == 200


@dataclass
class Book:
    """alice's account, and its lines as the database has them: credits positive, each with the kind of its journal."""

    bank: Tenant
    account: Any
    lines: list[Any]

    def expected(self, effective_at: datetime, at: datetime) -> tuple[int, int, int]:
        known = [line for line in self.lines if line[1] <= at]
        effective = [line for line in known if line[0] <= effective_at]
        posted = sum(int(line[3]) for line in effective if line[2] == "posted")
        debits = [-int(line[3]) for line in effective if line[2] == "held" and (line[3] < 0) == (line[4] == "hold")]
        return posted, sum(debits), len(known)

    def shown(self, effective_at: datetime, at: datetime | None) -> tuple[int, int, int]:
        row = get_account(self.bank.client.pk, self.account.id)
        shape = balance_at(row, at, effective_at=effective_at, now=now())
        posted, held = (int(text.replace(".", "")) for text in (shape.posted, shape.held))
        return posted, held, shape.version


@pytest.fixture
def book(bank: Tenant) -> Book:
    alice, chance = bank.open("users:alice:USD"), random.Random(7)
    for apart_s in chance.sample(APART_S * 2, k=len(APART_S) * 2):
        way = ("cash:USD", alice.path) if chance.random() < 0.7 else (alice.path, "cash:USD")
        moment = now() + timedelta(seconds=apart_s)
        bank.move(*way, f"{chance.randint(1, 99)}.{chance.randint(0, 99):02}", effective_at=moment)
        if apart_s in HELD_S:
            hold_and_end(bank, way, moment, chance)
            hold_and_end(bank, way[::-1], moment, chance)
    with owner_connection(DATABASE) as owner:
        return Book(bank, alice, owner.execute(LINES, [alice.id]).fetchall())


def around(moments: Any) -> Iterator[datetime]:
    for moment in moments:
        for microseconds in (-1, 0, 1):
            yield moment + timedelta(microseconds=microseconds)


def test_at_every_moment_the_sum_is_that_of_the_lines_that_took_effect(book: Book) -> None:
    effective = sorted({*around(line[0] for line in book.lines), *around(line[1] for line in book.lines)})
    present = now()
    for moment in effective:
        assert book.shown(moment, None) == book.expected(moment, present), moment
    for at in random.Random(8).sample([line[1] for line in book.lines], k=12):
        for moment in effective[::5]:
            assert book.shown(moment, at) == book.expected(moment, at), (moment, at)
    assert len({book.expected(moment, present) for moment in effective}) > 20


def test_nothing_ends_before_it_begins(book: Book) -> None:
    """What is held until it takes effect may be let go before: never is less than nothing held."""
    moments = {*around(line[0] for line in book.lines), *around(line[1] for line in book.lines)}
    assert min(book.shown(moment, None)[1] for moment in moments) == 0
    ends = [line for line in book.lines if line[4] in {"capture", "void"}]
    assert {"capture", "void"} == {line[4] for line in ends}
    assert {effective > posted for effective, posted, *_ in ends} == {True, False}


def test_what_takes_effect_more_than_ten_seconds_away_is_kept_apart_and_nothing_else(book: Book) -> None:
    apart = [line for line in book.lines if abs(line[0] - line[1]) > timedelta(seconds=10)]
    kept = TimeShift.objects.filter(account__public_id=book.account.id)
    assert sorted((one.begins_at, one.ends_at) for one in kept) == sorted(tuple(sorted(line[:2])) for line in apart)
    assert 0 < len(apart) < len(book.lines)
    assert verify(client_id=book.bank.client.pk).holds


def test_a_back_dated_booking_changes_nothing_that_was_known(book: Book) -> None:
    known_at = now()
    moments = [known_at - timedelta(days=days) for days in (0, 1, 2, 365, 365 * 29)]
    before = [book.shown(moment, known_at) for moment in moments]

    book.bank.move("cash:USD", book.account.path, "1000.00", effective_at=known_at - timedelta(days=2))

    assert [book.shown(moment, known_at) for moment in moments] == before
    changed = [book.shown(moment, None)[0] - posted for moment, (posted, *_) in zip(moments, before, strict=True)]
    assert changed == [100_000, 100_000, 100_000, 0, 0]


def test_the_api_answers_both_times(bank: Tenant) -> None:
    alice = bank.person("alice", holding="10.00")
    bank.move("cash:USD", alice.path, "5.00", effective_at=datetime(2026, 3, 1, tzinfo=UTC))
    url = f"/v2/accounts/{alice.id}/balance"
    known_at = rfc3339(now())
    bank.move(alice.path, "cash:USD", "2.00", effective_at=datetime(2026, 4, 1, tzinfo=UTC))

    def shown(query: str) -> tuple[Any, ...]:
        answer = bank.get(f"{url}?{query}").json()
        return answer["posted"], answer["available"], answer["version"], answer["effective_at"]

    march, april, may = (f"2026-0{month}-15T00:00:00.000000Z" for month in (3, 4, 5))
    assert shown(f"effective_at={march}") == ("5.00", "5.00", 3, march)
    assert shown(f"effective_at={april}") == ("3.00", "3.00", 3, april)
    assert shown(f"effective_at={may}&at={known_at}") == ("5.00", "5.00", 2, may)
    assert shown(f"effective_at=2026-02-01T00:00:00Z&at={known_at}")[0] == "0.00"
    assert shown(f"effective_at={rfc3339(now() + timedelta(days=1))}")[0] == "13.00"
    assert shown(f"effective_at={march}&at=2026-03-20T00:00:00Z") == ("0.00", "0.00", 0, march)
    assert (
        shown("effective_at=0001-01-01T00:00:00Z")[0]
        == shown("effective_at=0001-01-01T00:00:00Z&at=0001-01-01T00:00:00Z")[0]
    )
    assert bank.get(url).json()["effective_at"] is None
    assert shown("effective_at=9999-12-31T23:59:59Z")[0] == "13.00"


def test_what_was_held_is_exact_whatever_was_to_come(bank: Tenant) -> None:
    alice, cash = bank.person("alice", holding="10.00"), bank.account("cash:USD")
    url = f"/v2/accounts/{alice.id}/balance"
    hold_url = "/v2/transactions/{}/{}"
    leaving = bank.move(alice.path, cash.path, "6.00", capture="manual").transaction
    coming = bank.move(cash.path, alice.path, "5.00", capture="manual").transaction
    both_at = rfc3339(now())
    bank.post(hold_url.format(leaving.id, "capture"), {"amount": "2.00"})
    captured_at = rfc3339(now())
    bank.post(hold_url.format(coming.id, "void"), {})
    bank.post(hold_url.format(leaving.id, "void"), {})

    def shown(query: str, account: Any = url) -> tuple[str, ...]:
        answer = bank.get(f"{account}?{query}").json()
        return answer["posted"], answer["held"], answer["available"]

    for query in ("at={}", "effective_at={}", "at={0}&effective_at={0}"):
        assert shown(query.format(both_at)) == ("10.00", "6.00", "4.00"), query
        assert shown(query.format(captured_at)) == ("8.00", "4.00", "4.00"), query
        assert shown(query.format(both_at), f"/v2/accounts/{cash.id}/balance") == ("10.00", "6.00", "4.00"), query
    assert shown("") == ("8.00", "0.00", "8.00")


def test_nobody_makes_up_a_time_shift(book: Book) -> None:
    with connect("app") as app, pytest.raises(psycopg.Error) as caught:
        app.execute("INSERT INTO ledger_timeshift SELECT * FROM ledger_timeshift LIMIT 1")
    assert caught.value.sqlstate == DENIED
