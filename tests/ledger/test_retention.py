"""Old events are dropped by whole months, never those that are promised or not numbered, and readers are told."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from django.db import connection

from config.runtime.database import raw_cursor
from ledger.events.errors import CursorExpired
from ledger.events.feed import events_after
from ledger.events.outbox import Happened, record_events
from ledger.events.partitions import drop_partitions, ensure_partitions
from ledger.events.stream import begin, pass_over, read_window
from ledger.queries.invariants import verify
from tests.conftest import owner_connection
from tests.ledger.conftest import Demo
from tests.ledger.numbered import at_rest
from tests.scratch import pointed_at, scratch_database

ALL = range(16)
MONTH = """
CREATE TABLE {0}_202401 PARTITION OF {0} FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2024-02-01 00:00+00')
"""
THEN = "ALTER TABLE events_outboxevent ALTER occurred_at SET DEFAULT '2024-01-15 12:00+00'"
NOW = "ALTER TABLE events_outboxevent ALTER occurred_at SET DEFAULT clock_timestamp()"
PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events_outboxevent'::regclass"
CLIENT = 1


@pytest.fixture
def books(db, demo: Demo) -> Iterator[str]:
    """A copy of the demo's books, with a month of long ago."""
    with scratch_database(demo.database) as database:
        with owner_connection(database) as owner:
            for table in ("events_outboxevent", "events_position"):
                owner.execute(MONTH.format(table))
        with pointed_at(database):
            at_rest()
            yield database


def happened(database: str, *, long_ago: bool = False, count: int = 3) -> None:
    with owner_connection(database) as owner:
        owner.execute(THEN if long_ago else NOW)
        with raw_cursor() as cursor:
            record_events(cursor, [Happened(CLIENT, "account.opened", uuid4(), "{}")] * count)
        owner.execute(NOW)


def months() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events_outboxevent'::regclass"
        )
        return {name[-6:] for (name,) in cursor.fetchall()}


def test_a_month_that_ended_long_ago_is_dropped_and_others_stay(books: str) -> None:
    happened(books, long_ago=True)
    at_rest()
    before = months()
    assert drop_partitions() == 1
    assert before - months() == {"202401"}
    assert (drop_partitions(), ensure_partitions()) == (0, 0)
    assert verify().holds


def test_readers_are_told_what_is_not_there_any_more(books: str) -> None:
    begin("transport:late")
    first = events_after(CLIENT, None, types=None, limit=1).until
    happened(books, long_ago=True)
    at_rest()
    last = events_after(CLIENT, None, types=None, limit=10_000).until
    happened(books)
    at_rest()
    assert drop_partitions() == 1
    for cursor in (first, last - 1):
        with pytest.raises(CursorExpired):
            events_after(CLIENT, cursor, types=None, limit=10)
    assert len(events_after(CLIENT, last, types=None, limit=10).rows) == 3
    assert pass_over("transport:late", ALL) == len(ALL)
    assert pass_over("transport:late", ALL) == 0
    begin("transport:new")
    assert pass_over("transport:new", ALL) == 0
    window = read_window("transport:late", ALL)
    assert window is not None
    assert len(window.events) == 3


def test_what_has_no_position_yet_is_kept(books: str) -> None:
    happened(books, long_ago=True)
    assert drop_partitions() == 0
    at_rest()
    assert drop_partitions() == 1


@pytest.mark.parametrize("days", [399, 0, -1, 36_501])
def test_nobody_drops_what_is_promised(books: str, days: int) -> None:
    with pytest.raises(Exception, match="not 400 to 36500") as refused, connection.cursor() as cursor:
        cursor.execute("SELECT events_drop_partitions(%s)", [days])
    assert isinstance(refused.value.__cause__, psycopg.errors.InvalidParameterValue)
