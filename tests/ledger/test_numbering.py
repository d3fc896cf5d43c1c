"""Positions of events: every committed event has one, none is skipped or repeated, those of a key keep their order."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connection, transaction

from config.localstack.processes import wait_until
from config.runtime.database import raw_cursor
from ledger.events.models import EventPosition, OutboxEvent
from ledger.events.numbering import number_events
from ledger.events.outbox import Happened, record_events
from tests.counted import statements
from tests.ledger.hostile import connect
from tests.ledger.locks import in_thread
from tests.ledger.numbered import at_rest

CLIENT = 4_000_000_000
BEGIN = "SELECT pg_current_xact_id()"  # as who records: he has locked the key's account
LOCKED = "SELECT pg_current_xact_id(), pg_advisory_xact_lock(hashtextextended(%s, 0))"


@pytest.fixture(autouse=True)
def rest(db, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that earlier tests recorded has its position; Django knows nothing of the sessions that record here."""
    monkeypatch.setattr(transaction, "on_commit", lambda _: None)
    at_rest()


def record(*keys: UUID) -> None:
    with raw_cursor() as cursor:
        record_events(cursor, [Happened(CLIENT, "account.opened", key, "{}") for key in keys])


@contextmanager
def recording(*keys: UUID) -> Iterator[psycopg.Connection]:
    """Record in a session of its own, which has not committed yet."""
    with connect("app") as session, session.transaction(), session.cursor() as cursor:
        cursor.execute(BEGIN)
        record_events(cursor, [Happened(CLIENT, "account.opened", key, "{}") for key in keys])
        yield session


def settle() -> None:
    """Number as long as there is anything, and let the fences move as far as they can: each takes three rounds."""
    for _ in range(8):
        while number_events():
            pass


def low_id() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT low_id FROM events_numbering")
        return int(cursor.fetchone()[0])


def last_id() -> int:
    return OutboxEvent.objects.order_by("-id").values_list("id", flat=True)[0]


def order(*keys: UUID) -> list[UUID]:
    return list(EventPosition.objects.filter(key__in=keys).order_by("position").values_list("key", flat=True))


def sequences(key: UUID) -> list[int]:
    return list(EventPosition.objects.filter(key=key).order_by("position").values_list("sequence", flat=True))


def test_events_are_numbered_in_the_order_in_which_they_were_recorded() -> None:
    keys = [uuid4() for _ in range(5)]
    record(*keys)
    assert (number_events(), number_events()) == (5, 0)
    assert order(*keys) == keys
    positions = list(EventPosition.objects.filter(key__in=keys).order_by("position").values_list("position", flat=True))
    assert positions == list(range(positions[0], positions[0] + 5))


def test_a_round_takes_no_more_than_its_size_and_the_next_goes_on() -> None:
    keys = [uuid4() for _ in range(5)]
    record(*keys)
    assert [number_events(2) for _ in range(4)] == [2, 2, 1, 0]
    assert order(*keys) == keys


def test_the_events_of_a_key_are_counted_without_a_gap() -> None:
    alice, bob = uuid4(), uuid4()
    record(alice, bob, alice)
    number_events()
    record(alice, bob)
    with transaction.atomic():
        record(alice)
        transaction.set_rollback(True)
    record(alice)
    number_events()
    assert (sequences(alice), sequences(bob)) == ([1, 2, 3, 4], [1, 2])


def test_what_commits_late_is_not_lost_and_comes_after_what_was_seen_before_it() -> None:
    early, late = uuid4(), uuid4()
    with recording(late):
        record(early)
        settle()
        assert order(early, late) == [early]
    settle()
    assert order(early, late) == [early, late]


def test_ids_are_not_forgotten_while_a_transaction_that_may_have_drawn_one_is_open() -> None:
    late = uuid4()
    before = low_id()
    with recording(late):
        drawn = low_id()
        for _ in range(20):
            record(uuid4())
            number_events()
        assert low_id() == drawn == before
    at_rest()
    assert sequences(late) == [1]
    assert low_id() >= last_id()


def test_while_a_backlog_is_numbered_what_has_its_position_is_not_looked_at_again() -> None:
    at_rest()
    before = low_id()
    record(*[uuid4() for _ in range(400)])
    assert wait_until(lambda: number_events(2) == 2 and low_id() > before, timeout_s=30)
    assert low_id() < last_id()
    at_rest()


def test_a_transaction_that_wrote_before_a_fence_and_records_after_it_is_seen() -> None:
    """Its id is above the fence: nothing that is drawn later is passed over."""
    late = uuid4()
    with connect("app") as session, session.transaction(), session.cursor() as cursor:
        cursor.execute(BEGIN)
        record(uuid4())
        settle()
        record_events(cursor, [Happened(CLIENT, "account.opened", late, "{}")])
    settle()
    assert sequences(late) == [1]


def test_ids_that_were_drawn_and_rolled_back_hold_nothing_up() -> None:
    with connect("app") as session, session.transaction(force_rollback=True), session.cursor() as cursor:
        cursor.execute(BEGIN)
        record_events(cursor, [Happened(CLIENT, "account.opened", uuid4(), "{}")] * 3)
    record(uuid4())
    at_rest()
    assert low_id() >= last_id()


def test_while_nothing_is_recorded_nothing_is_written() -> None:
    assert statements(number_events) == 1


def test_who_finds_another_at_it_lets_him() -> None:
    record(uuid4())
    with connect("app") as session, session.transaction():
        session.execute("SELECT 1 FROM events_numbering FOR UPDATE")
        assert number_events() == 0
    assert number_events() == 1


def test_sixteen_writers_three_numberers_and_a_reader_that_misses_nothing() -> None:
    """A reader that goes on from the highest position it has seen gets every event once, and a key's in their order."""
    keys = [uuid4() for _ in range(8)]
    stop, read = Event(), list[tuple[UUID, int]]()
    begun = EventPosition.objects.order_by("-position").values_list("position", flat=True).first() or 0

    def write(seed: int) -> None:
        chance = random.Random(seed)
        with connect("app") as session:
            for _ in range(25):
                key = chance.choice(keys)
                with session.transaction(), session.cursor() as cursor:
                    cursor.execute(LOCKED, [key.hex])
                    record_events(cursor, [Happened(CLIENT, "account.opened", key, "{}")] * chance.choice((1, 1, 3)))
                    time.sleep(chance.choice((0, 0, 0.002, 0.01)))

    def number() -> None:
        while not stop.is_set():
            number_events(7)

    def follow() -> None:
        after = begun
        while not stop.is_set() or number_events():
            page = EventPosition.objects.filter(position__gt=after, client_id=CLIENT).order_by("position")[:20]
            for row in page:
                read.append((row.key, row.sequence))
                after = row.position

    with ThreadPoolExecutor(20) as pool:
        others = [pool.submit(in_thread, work) for work in (number, number, number, follow)]
        writers = [pool.submit(in_thread, partial(write, seed)) for seed in range(16)]
        for writer in writers:
            writer.result()
        recorded = OutboxEvent.objects.filter(key__in=keys).count()
        assert wait_until(lambda: EventPosition.objects.filter(key__in=keys).count() == recorded, timeout_s=20)
        wait_until(lambda: len(read) == recorded, timeout_s=5)
        stop.set()
        for other in others:
            other.result()

    assert len(read) == recorded == len(set(read))
    for key in keys:
        numbers = [sequence for one, sequence in read if one == key]
        assert numbers == list(range(1, len(numbers) + 1))
        ids = OutboxEvent.objects.filter(key=key).order_by("id").values_list("id", flat=True)
        numbered = EventPosition.objects.filter(key=key).order_by("position").values_list("outbox_id", flat=True)
        assert list(numbered) == list(ids)
