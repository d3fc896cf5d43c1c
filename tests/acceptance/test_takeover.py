"""A poster that is killed or frozen in the middle of a round: another worker goes on, and nothing is done twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest
from django.db import connections

from config.localstack.processes import wait_until
from ledger.locks import FROZEN_FOR_S
from ledger.models import Journal, QueuedPosting
from tests.acceptance.server import Schedule, Worker, running
from tests.apart import DATABASE
from tests.ledger.audit import offences
from tests.ledger.locks import locked
from tests.ledger.queueing import accepted, emptied, intent, statuses
from tests.people import Tenant

TAKEN_OVER_WITHIN = timedelta(seconds=2)
FROZEN_FOR, NOTICED_WITHIN = timedelta(seconds=FROZEN_FOR_S), timedelta(seconds=4)
WAITING_MAX, GROUP = 1000, 50
# A poster that is not frozen asks the server for more long before.
STANDS_STILL_S = 0.6

LANE_HOLDER = """
SELECT a.pid
FROM pg_locks l
JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.classid = 1818324581 AND l.objid = 0 AND l.granted
    AND a.datname = current_database() AND a.wait_event = 'ClientRead'
    AND a.state_change < clock_timestamp() - make_interval(secs => %s)
"""
LANE_WAITS = """
SELECT a.pid
FROM pg_locks l
JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.classid = 1818324581 AND l.objid = 0 AND l.granted
    AND a.datname = current_database() AND a.wait_event_type = 'Lock'
"""
# Of all transactions that have an outcome, and when it is that they have it, by the database's own clock.
DONE = "SELECT clock_timestamp(), count(*) FROM ledger_transaction WHERE client_id = %s AND status = 'completed'"

# Python 3.12 warns of every fork beside threads; what runs between fork and exec here takes no lock.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


class Done(NamedTuple):
    at: datetime
    transactions: int


class Load(threading.Thread):
    """Accepts transactions of 0.01 all the time, so that there is always a round to post."""

    def __init__(self, bank: Tenant) -> None:
        super().__init__(daemon=True)
        self.bank, self.count = bank, 0
        self.stopped = threading.Event()

    def run(self) -> None:
        try:
            while not self.stopped.is_set():
                if QueuedPosting.objects.filter(client=self.bank.client).count() < WAITING_MAX:
                    self.count += len(accepted([intent(self.bank, amount_minor=1) for _ in range(GROUP)]))
                else:
                    self.stopped.wait(0.01)
        finally:
            connections.close_all()

    def stop(self) -> None:
        self.stopped.set()
        self.join(timeout=10)


@pytest.fixture(scope="module")
def workers(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Worker]]:
    """Three workers, two of which will be killed, and the schedule, which pokes whoever lives."""
    with django_db_blocker.unblock():
        emptied()
        connections.close_all()
    logs = tmp_path_factory.mktemp("takeover")
    started = [Worker(logs / f"{number}.log") for number in range(3)]
    with running(*started, Schedule(logs / "schedule.log")):
        yield started


@pytest.fixture
def database() -> Iterator[psycopg.Connection]:
    with psycopg.connect(os.environ["DATABASE_URL"], dbname=DATABASE, autocommit=True) as connection:
        yield connection


@pytest.fixture
def load(bank: Tenant, workers: list[Worker]) -> Iterator[Load]:
    """Let the workers have something to do."""
    bank.person("alice", holding="10000.00")
    bank.person("bob")
    load = Load(bank)
    load.start()
    assert wait_until(lambda: load.count >= WAITING_MAX, timeout_s=30)
    yield load
    load.stop()


def done(database: psycopg.Connection, bank: Tenant) -> Done:
    found = database.execute(DONE, [bank.client.pk]).fetchone()
    assert found is not None
    return Done(*found)


def living(workers: list[Worker]) -> list[Worker]:
    return [worker for worker in workers if worker.process is not None]


def frozen_in_mid_round(workers: list[Worker], database: psycopg.Connection) -> tuple[Worker, int]:
    """Freeze the worker that posts, between two statements of a round; return it and the lane's session."""
    for worker in living(workers) * 10:
        worker.tell(signal.SIGSTOP)
        time.sleep(STANDS_STILL_S + 0.2)  # what it has asked the server for is done
        found = database.execute(LANE_HOLDER, [STANDS_STILL_S]).fetchone()
        if found is not None:
            return worker, found[0]
        worker.tell(signal.SIGCONT)
        time.sleep(0.05)
    raise AssertionError("no worker was caught in a round")


def waiting_session(database: psycopg.Connection) -> int | None:
    """Return the session of a round that waits for an account."""
    found = database.execute(LANE_WAITS).fetchone()
    return None if found is None else found[0]


def waits_for_an_account(workers: list[Worker], database: psycopg.Connection) -> tuple[Worker, int]:
    """Return the worker whose round waits for an account, and the session; all others are frozen."""
    for worker in living(workers) * 10:
        others = [other for other in living(workers) if other is not worker]
        for other in others:
            other.tell(signal.SIGSTOP)
        time.sleep(STANDS_STILL_S + 0.2)
        if database.execute(LANE_HOLDER, [STANDS_STILL_S]).fetchone() is None:
            assert wait_until(lambda: waiting_session(database) is not None, timeout_s=10, every_s=0.001)
            session = waiting_session(database)
            if session is not None:
                return worker, session
        for other in others:
            other.tell(signal.SIGCONT)
        time.sleep(0.05)
    raise AssertionError("no worker waited for the account")


def went_on(since: Done, database: psycopg.Connection, bank: Tenant, *, timeout_s: float) -> timedelta:
    """Return how long it took, by the database's clock, until one more had its outcome."""
    assert wait_until(lambda: done(database, bank).transactions > since.transactions, timeout_s=timeout_s, every_s=0.01)
    return done(database, bank).at - since.at


def is_connected(pid: int, database: psycopg.Connection) -> bool:
    return database.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]).rowcount == 1


def check_books(bank: Tenant, load: Load) -> None:
    """Everything that was accepted is done, and once."""
    load.stop()
    assert wait_until(lambda: statuses(bank) == {"completed": load.count}, timeout_s=30), statuses(bank)
    assert Journal.objects.filter(client=bank.client, transaction__type="transfer").count() == load.count
    assert bank.posted(bank.account("users:bob:USD")) == load.count
    assert not QueuedPosting.objects.filter(client=bank.client).exists()
    assert offences(bank.client.pk) == []


def test_a_poster_that_is_frozen_in_mid_round_loses_its_lane_and_does_no_harm_when_it_wakes(
    bank: Tenant, workers: list[Worker], load: Load, database: psycopg.Connection
) -> None:
    frozen, session = frozen_in_mid_round(workers, database)
    before = done(database, bank)

    took = went_on(before, database, bank, timeout_s=20)

    assert FROZEN_FOR - NOTICED_WITHIN < took < FROZEN_FOR + NOTICED_WITHIN
    assert not is_connected(session, database)
    frozen.tell(signal.SIGCONT)
    assert wait_until(lambda: '"status":"failed"' in frozen.said(), timeout_s=10)  # the message that it had in hand
    check_books(bank, load)


def test_two_seconds_after_a_poster_was_killed_in_mid_round_another_has_gone_on(
    bank: Tenant, workers: list[Worker], load: Load, database: psycopg.Connection
) -> None:
    victim, session = frozen_in_mid_round(workers, database)
    before = done(database, bank)

    victim.kill()

    assert went_on(before, database, bank, timeout_s=20) < TAKEN_OVER_WITHIN
    assert not is_connected(session, database)
    check_books(bank, load)


def test_two_seconds_after_a_poster_was_killed_that_waited_for_an_account_another_is_at_it(
    bank: Tenant, workers: list[Worker], load: Load, database: psycopg.Connection
) -> None:
    with locked(bank.account("users:bob:USD")):
        victim, session = waits_for_an_account(workers, database)

        victim.kill()
        for other in living(workers):
            other.tell(signal.SIGCONT)

        assert wait_until(
            lambda: waiting_session(database) not in (None, session),
            timeout_s=TAKEN_OVER_WITHIN.total_seconds(),
            every_s=0.01,
        )
        assert not is_connected(session, database)
    load.stop()
    assert wait_until(lambda: not QueuedPosting.objects.filter(client=bank.client).exists(), timeout_s=60)
    found = statuses(bank)
    assert sum(found.values()) == load.count
    # What was tried three times while the account was locked has failed, and says so.
    assert found.keys() <= {"completed", "failed"}
    assert bank.posted(bank.account("users:bob:USD")) == found["completed"]
    assert offences(bank.client.pk) == []
