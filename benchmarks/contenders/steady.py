"""Book transfers at a steady rate and take their events from a broker: how long after its commit each has come.

Arguments: the broker's URL, transfers a second, seconds. The last line it prints is its figures as JSON.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from datetime import datetime
from uuid import uuid4

import msgspec

from benchmarks.contenders.loop import CLIENT, transfers
from benchmarks.contenders.ours import Prepared
from config.runtime.clock import now
from ledger.clients.models import Client
from ledger.events.transports.base import Source
from ledger.events.transports.registry import open_source
from ledger.posting.engine import post

GROUP, PATIENCE_S, QUIET_S = 10, 20.0, 8.0


class Told(msgspec.Struct):
    """What is looked at of a message."""

    type: str
    time: datetime


def main() -> None:
    url, rate, seconds = sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    source = open_source(url, topics=["transactions"], group=uuid4().hex)
    drain(source)
    begun = now()
    booking = threading.Thread(target=book, args=(rate, seconds))
    booking.start()
    took_s = sorted(take(source, begun, round(rate * seconds / GROUP) * GROUP))
    booking.join()
    figures = {
        "events": len(took_s),
        "p50_ms": took_s[len(took_s) // 2] * 1000,
        "p99_ms": took_s[int(len(took_s) * 0.99)] * 1000,
        "max_ms": took_s[-1] * 1000,
    }
    print(json.dumps(figures))


def book(rate: int, seconds: float) -> None:
    """Book groups at the instants at which they are due, whether or not the last was late."""
    prepared = Prepared(Client.objects.get(name=CLIENT).pk)
    chance, begun = random.Random(1), time.perf_counter()
    for number in range(round(rate * seconds / GROUP)):
        time.sleep(max(0.0, begun + number * GROUP / rate - time.perf_counter()))
        post(prepared.intents(transfers(chance, GROUP, hot=False)))


def take(source: Source, since: datetime, count: int) -> list[float]:
    """Return how old each event was when it had come."""
    took_s, decode, deadline = list[float](), msgspec.json.Decoder(Told).decode, time.monotonic() + PATIENCE_S
    while len(took_s) < count:
        received = source.poll(size=500, timeout_s=0.2)
        arrived = time.time()
        told = [decode(one.value) for one in received]
        took_s += [arrived - one.time.timestamp() for one in told if one.time >= since and one.type.startswith("trans")]
        source.done(received)
        deadline = time.monotonic() + PATIENCE_S if received else deadline
        assert time.monotonic() < deadline, f"{len(took_s)} of {count} events have come"
    return took_s


def drain(source: Source) -> None:
    """Take what is there already, until nothing has come for a while: to join a group takes Kafka some seconds."""
    while received := source.poll(size=500, timeout_s=QUIET_S):
        source.done(received)


if __name__ == "__main__":
    main()
