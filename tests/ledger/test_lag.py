"""How far followers are behind, what waits, and what was told again: as the gauges and counters show it."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from config.runtime.database import raw_cursor
from ledger.events.envelopes import source_of
from ledger.events.following import _round
from ledger.events.lag import measure_lag
from ledger.events.outbox import Happened, record_events
from tests.ledger.consumed import Shelf, asked, consumer_of, message
from tests.ledger.followed import ALL, DUE, Diary, begun, caught_up, execute, numbered, record
from tests.ledger.numbered import at_rest
from tests.people import Tenant


def sample(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.fixture
def diary(db) -> Diary:
    """A listener that begins with what happens from now on."""
    made = Diary()
    begun(made.follower)
    return made


def measured(diary: Diary) -> tuple[float | None, float, float | None]:
    measure_lag()
    age_s = sample("events_oldest_age_seconds", follower=diary.name)
    assert age_s is not None
    return sample("events_lag", follower=diary.name), age_s, sample("events_parked", follower=diary.name)


def test_a_follower_is_behind_by_what_it_has_not_taken(bank: Tenant, diary: Diary) -> None:
    assert measured(diary) == (0, 0, 0)
    keys = [uuid4() for _ in range(3)]
    record(bank.client.pk, *keys)
    time.sleep(0.05)
    lag, age_s, parked = measured(diary)
    assert (lag, parked) == (3, 0)
    assert 0.05 <= age_s < 10

    diary.cannot_bear = {keys[0]}
    caught_up(diary.follower)
    lag, age_s, parked = measured(diary)
    assert (lag, parked) == (0, 1)
    assert 0.05 <= age_s < 10

    diary.cannot_bear = set()
    execute(DUE, diary.name)
    caught_up(diary.follower)
    assert measured(diary) == (0, 0, 0)


def test_what_nobody_numbers_is_seen_to_wait(bank: Tenant, diary: Diary) -> None:
    at_rest()
    assert (measured(diary), sample("events_unnumbered_age_seconds")) == ((0, 0, 0), 0)
    with raw_cursor() as cursor:
        record_events(cursor, [Happened(bank.client.pk, "account.opened", uuid4(), "{}")])
    time.sleep(0.05)
    assert measured(diary) == (0, 0, 0)
    assert 0.05 <= (sample("events_unnumbered_age_seconds") or 0) < 10
    numbered()
    measure_lag()
    assert sample("events_unnumbered_age_seconds") == 0


def test_a_round_counts_what_it_has_taken_and_how_long_after_the_commit(bank: Tenant, diary: Diary) -> None:
    record(bank.client.pk, *[uuid4() for _ in range(3)])
    time.sleep(0.05)
    assert not _round(diary.follower, ALL)
    assert sample("events_taken_total", follower=diary.name) == 3
    assert sample("events_latency_seconds_count", follower=diary.name) == 3
    assert 0.15 <= (sample("events_latency_seconds_sum", follower=diary.name) or 0) < 30


def test_what_is_told_again_is_counted(people: Tenant) -> None:
    one = message(asked("1.00"), id="m-1")
    own = message(0, source=source_of(people.client.public_id))
    shelf = Shelf([one, one._replace(offset="again"), message(asked("11.00")), own])
    consumer = consumer_of(people, shelf)
    (topic,) = consumer.bound
    consumer.consume(timeout_s=0)
    counts = {
        name: sample("inbound_messages_total", topic=topic, outcome=name) for name in ("done", "duplicate", "dead")
    }
    assert counts == {"done": 1, "duplicate": 1, "dead": 1}
    assert sample("inbound_messages_total", topic=topic, outcome="own") == 1
    assert sample("events_duplicate_total", consumer=f"inbound:{topic}") == 1
