"""Time shifts summed up ahead: at any version and moment the sums stay those of the lines, whoever folds when."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Event
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError

from config.localstack.processes import wait_until
from config.runtime.clock import now
from config.runtime.database import raw_cursor
from config.schedule import JOBS, run_job
from ledger.events.numbering import number_events
from ledger.queries.balances import SUMS_EFFECTIVE
from ledger.queries.invariants import verify
from ledger.services.folding import SIZE, fold_account, fold_round, fold_time_shifts
from ledger.services.sealing import seal_block
from tests.apart import DATABASE
from tests.conftest import owner_connection
from tests.counted import statements
from tests.ledger.hostile import DENIED, connect
from tests.ledger.locks import in_thread, killed, waiting_for_locks
from tests.ledger.sealed import rows, sealed
from tests.people import Tenant

# What the sums by effective time stand for: each line of the first versions that took effect by then.
PLAIN_SUMS = """
SELECT
    coalesce(sum(e.amount_minor) FILTER (WHERE e.layer = 'posted'), 0),
    coalesce(sum(e.amount_minor) FILTER (WHERE e.layer = 'held'), 0),
    coalesce(sum(e.amount_minor) FILTER (WHERE e.layer = 'held' AND (e.amount_minor > 0) = (j.kind = 'hold')), 0)
FROM ledger_entry e JOIN ledger_journal j ON j.id = e.journal_id
WHERE e.account_id = %(account_id)s AND e.account_version <= %(newest)s AND j.effective_at <= %(effective_at)s
"""
LINES = """
SELECT e.account_version, j.effective_at, e.posted_at
FROM ledger_entry e JOIN ledger_journal j ON j.id = e.journal_id
WHERE e.account_id = %s
ORDER BY e.account_version
"""
SPANS = "SELECT number, last_version FROM ledger_shiftspan WHERE account_id = %s ORDER BY number"
SHIFTS = "SELECT account_version FROM ledger_timeshift WHERE account_id = %s ORDER BY account_version"
LEVELS = """
SELECT level, max(number), count(DISTINCT number)
FROM ledger_shiftsum
WHERE account_id = %s
GROUP BY level
ORDER BY level
"""
BEHIND = "SELECT coalesce(max(number), 0) - (SELECT last_block FROM ledger_folding) FROM ledger_block"
# Around the ten seconds from which on there is a time shift; ahead; long ago, often at one moment.
APART_S = (0, -5, -10, -11, -60, 5, 11, 250, -86_400, -86_400 * 400)


def book(bank: Tenant, count: int, chance: random.Random | None = None) -> int:
    """Book so much between cash and alice in one commit, a day late or as chance has it; return her account."""
    alice = bank.account("users:alice:USD")
    asked = [_drawn(chance) if chance else {"effective_at": now() - timedelta(days=1)} for _ in range(count)]
    submissions = [
        bank.submission(*_way(alice.path, chance), f"{number}.25", **fields) for number, fields in enumerate(asked)
    ]
    for result in bank.submit(submissions):
        if chance and result.transaction.status == "pending" and chance.random() < 0.7:
            end, body = chance.choice([("capture", {"amount": "0.10"}), ("capture", {}), ("void", {})])
            assert bank.post(f"/v2/transactions/{result.transaction.id}/{end}", body).status_code == 200
    return bank.balance(alice).account_id


def _way(path: str, chance: random.Random | None) -> tuple[str, str]:
    return (path, "cash:USD") if chance and chance.random() < 0.4 else ("cash:USD", path)


def _drawn(chance: random.Random) -> dict[str, Any]:
    moment = now() + timedelta(seconds=chance.choice(APART_S) - chance.choice([0, chance.uniform(0, 10_000_000)]))
    return {"effective_at": moment} | ({"capture": "manual"} if chance.random() < 0.1 else {})


def sums(query: str, asked: dict[str, Any]) -> list[int]:
    with raw_cursor() as cursor:
        return [int(value) for value in cursor.execute(query, asked).fetchall()[0]]


def assert_exact(account_id: int, chance: random.Random, times: int = 60) -> None:
    lines = rows(LINES, account_id)
    moments = [moment for line in lines for moment in line[1:]]
    for _ in range(times):
        moment = chance.choice(moments) + timedelta(microseconds=chance.choice([-1, 0, 0, 1, 12_345_678]))
        newest = chance.choice([0, lines[-1][0], chance.choice(lines)[0]])
        asked = {"account_id": account_id, "newest": newest, "effective_at": moment}
        assert sums(SUMS_EFFECTIVE, asked) == sums(PLAIN_SUMS, asked), asked


@pytest.fixture(autouse=True)
def rest(db) -> None:
    """All that earlier tests booked is sealed and folded."""
    sealed()
    fold_time_shifts()


@pytest.fixture
def late(bank: Tenant) -> Tenant:
    """A bank where alice has an account without limits."""
    bank.open("users:alice:USD")
    return bank


@pytest.mark.parametrize("seed", range(3))
def test_sums_are_those_of_the_lines_whenever_time_shifts_are_folded(late: Tenant, seed: int) -> None:
    chance, account_id = random.Random(seed), 0
    for _ in range(8):
        account_id = book(late, chance.randint(1, 60), chance)
        if chance.random() < 0.7:
            fold_account(account_id, size=chance.randint(1, 3), spans_max=chance.randint(1, 40))
        assert_exact(account_id, chance)
    assert rows(LEVELS, account_id)[1][2] >= 1
    assert verify(client_id=late.client.pk).holds


def test_of_sixteen_blocks_each_level_makes_one(late: Tenant) -> None:
    account_id, chance = book(late, 400, random.Random(1)), random.Random(2)
    versions = [version for (version,) in rows(SHIFTS, account_id)]

    assert fold_account(account_id, size=1, spans_max=273) == 273

    assert rows(SPANS, account_id) == list(enumerate(versions[:273], start=1))
    assert rows(LEVELS, account_id) == [(0, 273, 273), (1, 272, 17), (2, 256, 1)]
    assert_exact(account_id, chance, 200)
    assert verify(client_id=late.client.pk).holds


def test_what_is_folded_never_changes_and_what_comes_is_added(late: Tenant) -> None:
    chance = random.Random(3)
    account_id = book(late, 40, chance)
    fold_account(account_id, size=2)
    everything = "SELECT number, level, moment, posted_minor FROM ledger_shiftsum WHERE account_id = %s"
    before, spans = set(rows(everything, account_id)), rows(SPANS, account_id)

    book(late, 40, chance)
    assert fold_account(account_id, size=2) > 0

    assert before < set(rows(everything, account_id))
    assert rows(SPANS, account_id)[: len(spans)] == spans
    assert fold_account(account_id, size=2) == 0


def test_the_schedule_folds_what_is_sealed_and_fills_a_span(late: Tenant) -> None:
    account_id = book(late, SIZE - 1)
    sealed()
    fold_time_shifts()
    assert (rows(BEHIND), rows(SPANS, account_id)) == ([(0,)], [])
    book(late, 2)
    fold_time_shifts()
    assert rows(SPANS, account_id) == []
    sealed()

    assert [run_job(job) for job in JOBS if job.name == "time_shifts"] == [True]

    cash_id = late.balance(late.account("cash:USD")).account_id
    assert rows(SPANS, account_id) == rows(SPANS, cash_id) == [(1, SIZE)]
    assert rows(BEHIND) == [(0,)]
    assert_exact(account_id, random.Random(4))


def test_while_nothing_is_sealed_nothing_is_written() -> None:
    assert statements(fold_time_shifts) == 1


def test_a_round_makes_no_more_spans_than_it_may_and_the_next_goes_on(late: Tenant) -> None:
    account_id = book(late, 10)
    cash_id = late.balance(late.account("cash:USD")).account_id
    sealed()
    made = []

    while rows(BEHIND) != [(0,)]:
        assert fold_round(2, 3) is True
        made.append(len(rows(SPANS, account_id) + rows(SPANS, cash_id)))

    assert made == [3, 6, 9, 10]
    assert rows(SPANS, account_id) == rows(SPANS, cash_id) == [(number, 2 * number) for number in range(1, 6)]
    assert fold_round(2, 3) is False


def test_who_finds_another_at_it_lets_him(late: Tenant) -> None:
    account_id = book(late, 4)
    sealed()
    with connect("app") as session, session.transaction():
        session.execute("SELECT 1 FROM ledger_folding FOR UPDATE")
        assert fold_round(2) is False
        assert rows(SPANS, account_id) == []
    assert fold_round(2) is True
    assert rows(SPANS, account_id) == [(1, 2), (2, 4)]


def test_of_two_who_fold_one_account_at_once_the_second_goes_on_where_the_first_has_ended(late: Tenant) -> None:
    account_id = book(late, 40)
    with connect("app") as first, ThreadPoolExecutor(1) as pool:
        first.execute("BEGIN")
        first.execute("SELECT ledger_fold_time_shifts(%s, 3, 2)", [account_id])
        second = pool.submit(in_thread, partial(fold_account, account_id, size=1))
        assert wait_until(lambda: waiting_for_locks() == 1, timeout_s=10)
        first.execute("COMMIT")
        assert second.result() == 34

    assert rows(SPANS, account_id) == [(1, 3), (2, 6), *((number, number + 4) for number in range(3, 37))]
    assert_exact(account_id, random.Random(5))
    assert verify(client_id=late.client.pk).holds


def test_who_is_killed_while_he_folds_leaves_nothing_of_it(late: Tenant) -> None:
    account_id = book(late, 40)
    sealed()

    with owner_connection(DATABASE) as owner, ThreadPoolExecutor(1) as pool, owner.transaction():
        owner.execute("LOCK TABLE ledger_shiftsum IN SHARE ROW EXCLUSIVE MODE")
        dying = pool.submit(in_thread, partial(fold_round, 1))
        assert wait_until(partial(killed, "ledger_fold_time_shifts"), timeout_s=10)
        with pytest.raises(DatabaseError):
            dying.result()

    assert rows(SPANS, account_id) == []
    assert rows(BEHIND)[0][0] > 0
    assert_exact(account_id, random.Random(6), 20)
    while fold_round(1):
        pass
    assert len(rows(SPANS, account_id)) == 40
    assert_exact(account_id, random.Random(6))
    assert verify(client_id=late.client.pk).holds


def test_writers_sealers_folders_and_readers_at_once_see_the_sums_of_the_lines(late: Tenant) -> None:
    account_id, stop = book(late, 5), Event()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(10):
            book(late, chance.randint(1, 8), chance)

    def seal_some() -> None:
        while not stop.is_set():
            number_events()
            seal_block(20)

    def fold_some(seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            fold_round(chance.randint(1, 3), chance.randint(1, 5))
            fold_account(account_id, size=chance.randint(1, 3), spans_max=chance.randint(1, 5))

    def read(seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            assert_exact(account_id, chance, 5)

    with ThreadPoolExecutor(9) as pool:
        others = [pool.submit(in_thread, partial(work, seed)) for work in (fold_some, read) for seed in (1, 2)]
        others.append(pool.submit(in_thread, seal_some))
        writers = [pool.submit(in_thread, partial(write, seed)) for seed in range(4)]
        try:
            for writer in writers:
                writer.result()
        finally:
            stop.set()
        for other in others:
            other.result()

    assert len(rows(SPANS, account_id)) > 20
    assert_exact(account_id, random.Random(9), 200)
    assert verify(client_id=late.client.pk).holds


def test_nobody_makes_up_a_sum(late: Tenant) -> None:
    fold_account(book(late, 2), size=1)
    for table in ("ledger_shiftspan", "ledger_shiftsum"):
        with connect("app") as app, pytest.raises(psycopg.Error) as caught:
            app.execute(f"INSERT INTO {table} SELECT * FROM {table} LIMIT 1")
        assert caught.value.sqlstate == DENIED
    with connect("readonly") as readonly, pytest.raises(psycopg.Error) as caught:
        readonly.execute("SELECT ledger_fold_time_shifts(1, 1, 1)")
    assert caught.value.sqlstate == DENIED
