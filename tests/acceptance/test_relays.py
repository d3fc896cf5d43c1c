"""Relays are killed at random, and brokers go away: no event is lost or told out of its order, or late for long."""

from __future__ import annotations

import os
import random
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from django.conf import settings
from django.db import transaction

from config.localstack.processes import wait_until
from config.runtime.database import raw_cursor
from ledger.clients.models import AuditEntry
from ledger.events.outbox import Happened, record_events
from ledger.events.stream import LANES
from ledger.events.transports.rabbitmq.link import declaring
from ledger.events.transports.rabbitmq.topology import declare_queue
from ledger.events.transports.registry import open_source
from tests.acceptance.listening import NAME
from tests.acceptance.server import Relay, running
from tests.acceptance.told import begun, recorded, told_by, told_in_order
from tests.brokers.kafka import Kafka
from tests.brokers.rabbitmq import QUEUE_SETTLES_S, RabbitMQ
from tests.brokers.server import Server
from tests.ledger.hostile import connect
from tests.ledger.locks import in_thread
from tests.people import Tenant

STORM_S = float(os.environ.get("STORM_S", "10"))
WRITERS, RELAYS, KEYS = 6, 3, 20
TAKEN_OVER_WITHIN_S = 1
LANES_OF_EACH = """
SELECT count(*)
FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND classid::bigint = %(follower)s & 2147483647 AND objid < 16
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY pid
"""
LOCK = "SELECT pg_current_xact_id(), pg_advisory_xact_lock(hashtextextended(%s, 0))"
# Python 3.12 warns of every fork beside threads; what runs between fork and exec here takes no lock.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def write(client_id: int, keys: list[UUID], stop: threading.Event, seed: int) -> int:
    """Record events as bookings do: the key's account is locked from before until after the commit."""
    chance, count = random.Random(seed), 0
    with connect("app") as session:
        while not stop.is_set():
            key, size = chance.choice(keys), chance.choice((1, 1, 1, 4))
            with session.transaction(force_rollback=chance.random() < 0.05) as held, session.cursor() as cursor:
                cursor.execute(LOCK, [key.hex])
                record_events(cursor, [Happened(client_id, "account.opened", key, '{"n": 1}')] * size)
                if not held.force_rollback:
                    count += size
            stop.wait(chance.uniform(0, 0.01))
    return count


def killed_at_random(relays: list[Relay], stop: threading.Event) -> int:
    """Kill one after the other, and start it anew a moment later."""
    chance, kills = random.Random(7), 0
    while not stop.wait(chance.uniform(1.5, 4)):
        relay = chance.choice(relays)
        relay.kill()
        kills += 1
        stop.wait(chance.uniform(0, 0.5))
        relay.launch()
    return kills


def away_at_random(brokers: Sequence[Server], seconds: float) -> int:
    """Kill the brokers in turn, each at least once, and start them anew: by this thread, with which they end."""
    chance, kills, until = random.Random(11), 0, time.monotonic() + seconds
    while kills < len(brokers) or time.monotonic() < until:
        time.sleep(chance.uniform(1, 5))
        broker = brokers[kills % len(brokers)]
        broker.freeze()  # so that something is on its way, which is lost with it
        time.sleep(chance.uniform(0.2, 0.5))
        broker.kill()
        kills += 1
        time.sleep(chance.uniform(0, 3))
        broker.start()
    return kills


@pytest.mark.timeout(200 + 10 * STORM_S)
def test_no_event_is_lost_or_out_of_its_order_whoever_is_killed(
    bank: Tenant, tmp_path: Path, kafka: Kafka, rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Django knows nothing of the sessions that record here.
    monkeypatch.setattr(transaction, "on_commit", lambda _: None)
    begun(f"listener:{NAME}", "transport:kafka", "transport:rabbitmq", "transport:redis")
    urls, group = [kafka.url, rabbitmq.url, settings.REDIS_URL], uuid4().hex
    with declaring(rabbitmq.url) as channel:
        declare_queue(channel, "transactions", group)
    settled_at = time.monotonic() + QUEUE_SETTLES_S
    environment = {"DJANGO_SETTINGS_MODULE": "tests.acceptance.listening", "EVENTS_URL": ",".join(urls)}
    relays = [Relay(tmp_path / f"relay-{number}.log", **environment) for number in range(RELAYS)]
    keys, stop = [uuid4() for _ in range(KEYS)], threading.Event()

    with running(*relays), ThreadPoolExecutor(WRITERS + 1) as pool:
        writers = [pool.submit(in_thread, partial(write, bank.client.pk, keys, stop, seed)) for seed in range(WRITERS)]
        killer = pool.submit(killed_at_random, relays, stop)
        time.sleep(max(0.0, settled_at - time.monotonic()))
        away_at_random([kafka, rabbitmq], STORM_S)
        stop.set()
        count, kills = sum(writer.result() for writer in writers), killer.result()
        assert wait_until(lambda: sum(recorded(keys).values()) == count, timeout_s=30)
        expected, names = recorded(keys), set(map(str, keys))

        for url in urls:
            with closing(open_source(url, topics=["transactions"], group=group)) as source:
                told_in_order(told_by(source, names, count), expected)

        def heard() -> list[tuple[str, int]]:
            rows = AuditEntry.objects.filter(actor=NAME, object_id__in=names).order_by("id")
            return [(row.object_id, row.detail["n"]) for row in rows]

        assert wait_until(lambda: len(heard()) >= count, timeout_s=30)
    told = heard()
    told_in_order(told, expected)
    assert len(told) == len(set(told)) == count
    assert kills > STORM_S / 8


def lanes_of_each(follower: str) -> list[int]:
    """Return how many lanes of a follower each session has."""
    with connect("app") as session:
        return [count for (count,) in session.execute(LANES_OF_EACH, {"follower": zlib.crc32(follower.encode())})]


def happen(client_id: int, keys: list[UUID]) -> None:
    """Record an event of each key, of which the relay hears after the commit."""
    with transaction.atomic(), raw_cursor() as cursor:
        cursor.execute(LOCK, [keys[0].hex])
        record_events(cursor, [Happened(client_id, "account.opened", key, "{}") for key in keys])


def present() -> float:
    """Return the time by the database's clock, which is also that of Redis here."""
    with raw_cursor() as cursor:
        return float(cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchall()[0][0])


def written_down(keys: list[UUID]) -> list[float]:
    """Return when the listener heard each event of these keys, by the database's clock."""
    rows = AuditEntry.objects.filter(actor=NAME, object_id__in=map(str, keys)).order_by("id")
    return [row.at.timestamp() for row in rows]


def published(keys: list[UUID]) -> list[float]:
    """Return when each event of these keys came to the stream, by the clock of Redis."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        entries: Any = client.xrevrange("transactions", count=1_000)
    return [int(entry.split(b"-")[0]) / 1000 for entry, fields in entries if UUID(fields[b"key"].decode()) in keys]


def is_shared() -> bool:
    """Tell whether two relays have half of the lanes of each follower."""
    return [lanes_of_each(one) for one in (f"listener:{NAME}", "transport:redis")] == [[LANES // 2] * 2] * 2


def last_told(told: Callable[[list[UUID]], list[float]], keys: list[UUID]) -> float:
    """Return when the last of the events of these keys was told, an event each."""
    assert wait_until(lambda: len(told(keys)) == len(keys), timeout_s=30)
    return max(told(keys))


def test_another_relay_takes_over_within_a_second(bank: Tenant, tmp_path: Path) -> None:
    begun(f"listener:{NAME}", "transport:redis")
    environment = {"DJANGO_SETTINGS_MODULE": "tests.acceptance.listening", "EVENTS_URL": settings.REDIS_URL}
    relays = [Relay(tmp_path / f"relay-{number}.log", **environment) for number in range(2)]
    took_s = list[float]()
    with running(*relays):
        for relay in relays:
            assert wait_until(is_shared, timeout_s=30)
            keys = [UUID(int=uuid4().int & ~(LANES - 1) | lane) for lane in range(LANES)]  # one of each lane
            killed_at = present()
            relay.kill()
            happen(bank.client.pk, keys)
            took_s += [last_told(told, keys) - killed_at for told in (written_down, published)]
            relay.start()
    assert max(took_s) < TAKEN_OVER_WITHIN_S, took_s
