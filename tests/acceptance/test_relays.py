"""Three relays that are killed at random, and a broker that goes away: no event is lost or told out of its order."""

from __future__ import annotations

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.db import transaction

from config.localstack.processes import wait_until
from ledger.clients.models import AuditEntry
from ledger.events.outbox import Happened, record_events
from ledger.events.transports.registry import open_source
from tests.acceptance.listening import NAME
from tests.acceptance.server import Relay, running
from tests.acceptance.told import begun, recorded, told_by, told_in_order
from tests.brokers.kafka import Kafka
from tests.ledger.hostile import connect
from tests.ledger.locks import in_thread
from tests.people import Tenant

STORM_S = float(os.environ.get("STORM_S", "10"))
WRITERS, RELAYS, KEYS = 6, 3, 20
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
    while not stop.wait(chance.uniform(0.3, 1.2)):
        relay = chance.choice(relays)
        relay.kill()
        kills += 1
        stop.wait(chance.uniform(0, 0.5))
        relay.launch()
    return kills


def away_at_random(kafka: Kafka, seconds: float) -> int:
    """Kill the broker now and then for so long, and start it anew a while later: by this thread, with which it ends."""
    chance, kills, until = random.Random(11), 0, time.monotonic() + seconds
    while time.monotonic() + (pause_s := chance.uniform(2, 10)) < until:
        time.sleep(pause_s)
        kafka.kill()
        kills += 1
        time.sleep(chance.uniform(0, 5))
        kafka.start()
    time.sleep(max(0.0, until - time.monotonic()))
    return kills


def test_no_event_is_lost_or_out_of_its_order_whoever_is_killed(
    bank: Tenant, tmp_path: Path, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Django knows nothing of the sessions that record here.
    monkeypatch.setattr(transaction, "on_commit", lambda _: None)
    begun(f"listener:{NAME}", "transport:kafka", "transport:redis")
    urls = [kafka.url, settings.REDIS_URL]
    sources = [open_source(url, topics=["transactions"], group=uuid4().hex) for url in urls]
    environment = {"DJANGO_SETTINGS_MODULE": "tests.acceptance.listening", "EVENTS_URL": ",".join(urls)}
    relays = [Relay(tmp_path / f"relay-{number}.log", **environment) for number in range(RELAYS)]
    keys, stop = [uuid4() for _ in range(KEYS)], threading.Event()

    with running(*relays), ThreadPoolExecutor(WRITERS + 1) as pool:
        writers = [pool.submit(in_thread, partial(write, bank.client.pk, keys, stop, seed)) for seed in range(WRITERS)]
        killer = pool.submit(killed_at_random, relays, stop)
        outages = away_at_random(kafka, STORM_S)
        stop.set()
        assert outages > 0
        count, kills = sum(writer.result() for writer in writers), killer.result()
        assert wait_until(lambda: sum(recorded(keys).values()) == count, timeout_s=30)
        expected, names = recorded(keys), set(map(str, keys))

        for source in sources:
            told_in_order(told_by(source, names, count), expected)
            source.close()

        def heard() -> list[tuple[str, int]]:
            rows = AuditEntry.objects.filter(actor=NAME, object_id__in=names).order_by("id")
            return [(row.object_id, row.detail["n"]) for row in rows]

        assert wait_until(lambda: len(heard()) >= count, timeout_s=30)
    told = heard()
    told_in_order(told, expected)
    assert len(told) == len(set(told)) == count
    assert kills > STORM_S / 4
