"""Deadlines of database transactions: what is overdue ends and rolls back, and nobody else's work is ever cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import psycopg
import pytest
from django.db import OperationalError, connection, connections, transaction

from config.runtime import deadline
from config.runtime.database import release_connections
from config.runtime.deadline import Overdue, ended_within
from tests.apart import DATABASE
from tests.conftest import owner_connection

Step = Callable[[], object]


@pytest.fixture(scope="module")
def noted(django_db_setup) -> Iterator[None]:
    """A table of texts."""
    with owner_connection(DATABASE) as owner:
        owner.execute("CREATE TABLE scratch_notes (text text)")
        owner.execute("GRANT ALL ON scratch_notes TO app")
        yield
        owner.execute("DROP TABLE scratch_notes")


def run(sql: str, *parameters: str | float) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def note(text: str) -> Step:
    return partial(run, "INSERT INTO scratch_notes VALUES (%s)", text)


def sleep_there(seconds: float) -> Step:
    return partial(run, "SELECT pg_sleep(%s)", seconds)


def sleep_here(seconds: float) -> Step:
    return partial(time.sleep, seconds)


def fail() -> None:
    raise ZeroDivisionError


def within(seconds: float, *steps: Step) -> None:
    """Do the steps in one database transaction, whose time is bounded."""
    with transaction.atomic(), ended_within(seconds):
        for step in steps:
            step()


def is_noted(text: str) -> bool:
    with owner_connection(DATABASE) as owner:
        return owner.execute("SELECT 1 FROM scratch_notes WHERE text = %s", [text]).fetchone() is not None


def test_what_is_done_in_time_is_committed(db, noted):
    text = str(uuid4())
    within(5, note(text))
    assert is_noted(text)
    assert not deadline._watch._deadlines


def test_a_statement_that_takes_too_long_is_cancelled_and_the_transaction_rolls_back(db, noted):
    text, begun = str(uuid4()), time.monotonic()

    with pytest.raises(Overdue) as overdue:
        within(0.1, note(text), sleep_there(5))

    assert 0.1 <= time.monotonic() - begun < 2
    assert isinstance(overdue.value.__cause__, OperationalError)
    assert not is_noted(text)
    run("SELECT 1")


def test_many_statements_have_one_end(db):
    """The server's own timeouts begin anew with each."""
    begun = time.monotonic()
    with pytest.raises(Overdue):
        within(0.1, *[sleep_there(0.03)] * 100)
    assert time.monotonic() - begun < 1.5


def test_what_is_overdue_between_statements_rolls_back_as_well(db, noted):
    text = str(uuid4())
    with pytest.raises(Overdue):
        within(0.05, note(text), sleep_here(0.15))
    assert not is_noted(text)


def test_a_statement_that_begins_after_the_end_is_cancelled_too(db):
    begun = time.monotonic()
    with pytest.raises(Overdue):
        within(0.05, sleep_here(0.15), sleep_there(5))
    assert time.monotonic() - begun < 2


def test_an_error_within_the_time_is_that_error(db):
    with pytest.raises(ZeroDivisionError):
        within(5, fail)
    with pytest.raises(Overdue) as overdue:
        within(0.05, sleep_here(0.15), fail)
    assert isinstance(overdue.value.__cause__, ZeroDivisionError)


def test_a_session_that_is_gone_is_no_reason_to_wait(db):
    begun = time.monotonic()
    with pytest.raises((Overdue, OperationalError)):
        within(0.1, partial(run, "SELECT pg_terminate_backend(pg_backend_pid())"))
    assert time.monotonic() - begun < 2
    connections.close_all()
    run("SELECT 1")
    with pytest.raises(Overdue):
        within(0.05, sleep_there(5))


def test_a_shorter_deadline_is_kept_while_a_longer_one_runs(db):
    def sleep_within(seconds: float) -> float:
        begun = time.monotonic()
        try:
            with pytest.raises(Overdue):
                within(seconds, sleep_there(5))
        finally:
            connections.close_all()
        return time.monotonic() - begun

    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(sleep_within, 1.0)
        time.sleep(0.1)
        short = pool.submit(sleep_within, 0.1)
    assert short.result() < 0.8 <= long.result()


def test_of_many_threads_exactly_those_are_cancelled_that_are_overdue(db, noted):
    def work(number: int) -> tuple[bool, bool]:
        """Return whether it was overdue, and whether the next one who has the connection was disturbed."""
        overdue = disturbed = False
        try:
            within(0.1 if number % 2 else 20, sleep_there(0.25))
        except Overdue:
            overdue = True
        release_connections()
        try:
            run("SELECT pg_sleep(0.02)")
        except OperationalError:
            disturbed = True
        connections.close_all()
        return overdue, disturbed

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(work, range(48)))

    assert found == [(bool(number % 2), False) for number in range(48)]
    assert not deadline._watch._deadlines


def test_a_connection_that_was_given_back_is_never_cancelled_however_close_the_end_was(db):
    """The work ends as its time does: whoever is next on the connection must not meet the cancellation."""

    def work(number: int) -> list[str]:
        outcomes = []
        for _ in range(25):
            try:
                within(0.012, sleep_there(0.008 + 0.0005 * (number % 8)))
                outcomes.append("done")
            except Overdue:
                outcomes.append("overdue")
            run("SELECT pg_sleep(0.003)")
            release_connections()
        connections.close_all()
        return outcomes

    with ThreadPoolExecutor(8) as pool:
        outcomes = [one for ran in pool.map(work, range(8)) for one in ran]

    assert len(outcomes) == 200
    assert {"done", "overdue"} == set(outcomes)


def test_who_gives_the_connection_back_waits_for_a_cancellation_that_is_under_way(db, monkeypatch):
    """It is slow here; without the wait it would hit what runs next."""
    cancel = psycopg.Connection.cancel_safe

    def slowly(self: psycopg.Connection, **more: object) -> None:
        time.sleep(0.2)
        cancel(self, timeout=5.0)

    monkeypatch.setattr(psycopg.Connection, "cancel_safe", slowly)
    for _ in range(3):
        with pytest.raises(Overdue):
            within(0.05, sleep_there(0.1))
        run("SELECT pg_sleep(0.3)")


def test_a_cancellation_that_fails_leaves_the_end_to_the_caller(db, noted, monkeypatch):
    def refuse(self: psycopg.Connection, **more: object) -> None:
        raise psycopg.OperationalError("nobody there")

    text = str(uuid4())
    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "cancel_safe", refuse)
        with pytest.raises(Overdue):
            within(0.05, note(text), sleep_there(0.2))
    assert not is_noted(text)
    with pytest.raises(Overdue):
        within(0.05, sleep_there(5))
