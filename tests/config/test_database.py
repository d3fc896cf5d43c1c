"""Statements are counted where they run, and psycopg's own cursor stands on Django's connection."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, connections, transaction
from django.db.backends.postgresql.base import DatabaseWrapper
from psycopg import sql
from psycopg_pool import ConnectionPool, PoolTimeout

from config.runtime import metrics
from config.runtime.database import pipeline, raw_cursor, release_connections, show_pool
from config.runtime.logging import unit_of_work
from config.runtime.metrics import DB_QUERY
from tests.apart import DATABASE
from tests.conftest import owner_connection


def observed(op: str) -> float:
    (metric,) = DB_QUERY.labels(op).collect()
    return next(sample.value for sample in metric.samples if sample.name.endswith("_count"))


@pytest.fixture
def counters(db):
    """Give the name of a table of two columns, `id` (primary key) and `n`."""
    # Role app makes no tables; without a role owner there is but one role.
    owner = connections["owner" if "owner" in connections else "default"]
    with owner.cursor() as cursor:
        cursor.execute("CREATE TABLE scratch_counters (id int PRIMARY KEY, n int)")
        cursor.execute("GRANT ALL ON scratch_counters TO PUBLIC")
    yield "scratch_counters"
    release_connections()
    with owner.cursor() as cursor:
        cursor.execute("DROP TABLE scratch_counters")
    owner.close()


def test_a_unit_counts_the_statements_of_both_cursors(db):
    before = observed("select")
    with unit_of_work("command") as unit:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        with raw_cursor() as raw:
            raw.execute("-- why\n  (SELECT %s::int)", [2])
            assert raw.fetchone() == (2,)
            raw.executemany("SELECT %s::int", [(1,), (2,)])

    assert unit.db_queries == 3
    assert unit.db_s > 0
    assert observed("select") == before + 3


def test_an_inner_unit_counts_a_statement_once(db):
    before = observed("select")
    with unit_of_work("outer") as outer, unit_of_work("inner") as inner, connection.cursor() as cursor:
        cursor.execute("SELECT 1")

    assert (outer.db_queries, inner.db_queries) == (0, 1)
    assert observed("select") == before + 1


def test_beginning_a_unit_opens_no_connection(db):
    connection.close()
    with unit_of_work("command"):
        assert connection.connection is None


@pytest.mark.parametrize(
    ("statement", "op"),
    [
        ("insert into scratch_counters values (9, 9)", "insert"),
        ("/* SELECT */ UPDATE scratch_counters SET n = 0", "update"),
        ("WITH x AS (SELECT 1) SELECT * FROM x", "with"),
        ("ANALYZE scratch_counters", "other"),
    ],
)
def test_statements_are_told_apart_by_their_first_word(counters, statement, op):
    before = observed(op)
    with raw_cursor() as raw:
        raw.execute(statement)

    assert observed(op) == before + 1


def test_the_raw_cursor_joins_the_atomic_block(counters):
    with transaction.atomic():
        with raw_cursor() as raw:
            raw.execute("INSERT INTO scratch_counters VALUES (%s, %s)", [1, 1])
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM scratch_counters")
            assert cursor.fetchone() == (1,)
        transaction.set_rollback(True)

    with raw_cursor() as raw:
        assert raw.execute("SELECT count(*) FROM scratch_counters").fetchone() == (0,)


def test_the_raw_cursor_binds_on_the_server_and_prepares(db):
    with raw_cursor() as raw:
        assert isinstance(raw, psycopg.Cursor)
        assert not isinstance(raw, psycopg.ClientCursor)
        for _ in range(5):
            raw.execute("SELECT %s::int + 41", [1])
        prepared = raw.execute("SELECT statement FROM pg_prepared_statements").fetchall()

    assert ("SELECT $1::int + 41",) in prepared


def test_errors_arrive_as_djangos_and_a_broken_block_refuses_more(counters):
    with pytest.raises(IntegrityError) as raised, raw_cursor() as raw:
        raw.execute("INSERT INTO scratch_counters VALUES (1, 1), (1, 2)")
    assert isinstance(raised.value.__cause__, psycopg.errors.UniqueViolation)

    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(transaction.TransactionManagementError), raw_cursor():
            pass


def test_a_pipeline_sends_all_and_commits_with_the_block(counters):
    with transaction.atomic(), pipeline(), raw_cursor() as raw:
        for number in range(3):
            raw.execute("INSERT INTO scratch_counters VALUES (%s, %s)", [number, number])

    with raw_cursor() as raw:
        assert raw.execute("SELECT array_agg(id ORDER BY id) FROM scratch_counters").fetchone() == ([0, 1, 2],)


def test_an_error_in_a_pipeline_undoes_the_block(counters):
    def insert_twice() -> None:
        with transaction.atomic(), pipeline(), raw_cursor() as raw:
            for number in (1, 1):
                raw.execute("INSERT INTO scratch_counters VALUES (%s, 0)", [number])

    with pytest.raises(DatabaseError):
        insert_twice()

    with raw_cursor() as raw:
        assert raw.execute("SELECT count(*) FROM scratch_counters").fetchone() == (0,)


def test_a_torn_block_is_undone_and_the_thread_works_on(counters):
    transaction.atomic().__enter__()
    with raw_cursor() as raw:
        raw.execute("INSERT INTO scratch_counters VALUES (7, 7)")
    release_connections()

    with raw_cursor() as raw:
        assert raw.execute("SELECT count(*) FROM scratch_counters").fetchone() == (0,)
    assert not connections["default"].in_atomic_block


POOLED = 10


@pytest.fixture
def pool(db) -> Iterator[ConnectionPool]:
    """Give a new pool with ten idle connections, whose patience is a second."""
    default = connections["default"]
    assert isinstance(default, DatabaseWrapper)
    was = default.settings_dict["OPTIONS"]["pool"]
    default.close()
    default.close_pool()
    default.settings_dict["OPTIONS"]["pool"] = was | {"min_size": POOLED, "max_size": POOLED, "timeout": 1}
    opened = default.pool
    opened.open(wait=True)
    yield opened
    default.close()
    default.close_pool()
    default.settings_dict["OPTIONS"]["pool"] = was


def backend() -> int:
    """Return the process id of the session that a unit of work gets, and give it back."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])
    finally:
        release_connections()


def test_ten_connections_that_the_server_ended_meanwhile_cost_the_next_unit_one_new_connection(pool):
    ended = end_sessions()

    begun = time.monotonic()
    pid = backend()

    # The pool alone would pause for a second, then two, for all but the first that it finds.
    assert time.monotonic() - begun < 0.9
    assert len(ended) >= POOLED
    assert pid not in ended
    assert {backend() for _ in range(2 * POOLED)}.isdisjoint(ended)


def test_many_threads_at_once_get_past_the_connections_that_the_server_ended(pool):
    ended = end_sessions()

    with ThreadPoolExecutor(2 * POOLED) as threads:
        pids = list(threads.map(lambda _: backend(), range(10 * POOLED)))

    assert ended.isdisjoint(pids)
    assert pool.get_stats()["pool_size"] <= POOLED


def test_the_first_unit_after_an_outage_succeeds_however_long_the_database_was_away(pool):
    allow_connections(allowed=False)
    try:
        end_sessions()
        for _ in range(4):  # seconds; the pool alone would next try after 7
            with pytest.raises(OperationalError):
                backend()
    finally:
        allow_connections(allowed=True)

    assert backend() > 0


def allow_connections(*, allowed: bool) -> None:
    with owner_connection() as owner:
        name = sql.Identifier(DATABASE)
        owner.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(name, sql.Literal(allowed)))


def test_a_pool_whose_connections_are_all_in_use_refuses_after_its_patience_and_keeps_them(pool, client):
    held = [pool.getconn() for _ in range(POOLED)]
    try:
        begun = time.monotonic()
        with pytest.raises(OperationalError) as refused:
            backend()
        assert 0.9 < time.monotonic() - begun < 2.5
        assert isinstance(refused.value.__cause__, PoolTimeout)
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["parts"]["database"]) == (503, "failed")
        assert not any(one.closed for one in held)
    finally:
        for one in held:
            pool.putconn(one)

    assert backend() in {one.info.backend_pid for one in held}


def end_sessions() -> set[int]:
    """End every session of the pool, as the restart of a server or a proxy does; return their process ids."""
    # Chosen first and ended then: the order of conditions is the planner's.
    ending = """
        WITH pooled AS MATERIALIZED (
            SELECT pid FROM pg_stat_activity
            WHERE datname = %s AND usename = current_user AND application_name = 'countinghouse'
        )
        SELECT pid FROM pooled WHERE pg_terminate_backend(pid, 5000)
    """
    with psycopg.connect(os.environ["DATABASE_URL"], dbname="postgres", autocommit=True) as app:
        return {pid for (pid,) in app.execute(ending, [DATABASE]).fetchall()}


def test_the_pool_is_shown_as_it_is(db):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    show_pool()
    size, available = metrics.DB_POOL_SIZE._value.get(), metrics.DB_POOL_AVAILABLE._value.get()
    release_connections()
    show_pool()

    assert size >= 1
    assert metrics.DB_POOL_AVAILABLE._value.get() == available + 1
    assert metrics.DB_POOL_WAITING._value.get() == 0
