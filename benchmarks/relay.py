"""Events after their commit: numbered, taken by a listener, published, in one process and with nothing else to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.books import open_books, verify
from benchmarks.contender import Contender, contender
from benchmarks.contenders.loop import Order
from benchmarks.databases import environment
from benchmarks.harness import Options, Row, Table, load, median, ratio

RELAYING = "benchmarks.contenders.relaying"
SIZE = 1_000
# By the names of their followers; those of brokers are measured where EVENTS_URL names them.
WAYS = {
    "number": "numbered",
    "null": "published to nobody",
    "listener": "taken by a listener that writes nothing",
    "redis": "published to Redis Streams",
    "kafka": "published to Kafka",
    "rabbitmq": "published to RabbitMQ",
}


def run(options: Options) -> Iterator[Table]:
    """Events numbered, taken by a listener, published to nobody and to Redis Streams, and to brokers of EVENTS_URL."""
    urls = [url for url in os.environ.get("EVENTS_URL", "").split(",") if url] or [os.environ["REDIS_URL"]]
    with open_books("relay") as books:
        env = {**environment(books), "EVENTS_URL": ",".join(urls)}
        table = Table(f"relay: the events of {SIZE:,} transfers between 10,000 accounts, one process")
        begun = load()
        with contender(Path(sys.executable), RELAYING, env=env, log=options.scratch / "relay.log") as ours:
            found = [way for way in WAYS if way in {"number", "null", "listener", *map(_name, urls)}]
            rounds = [
                [_measured(ours, way, options.seconds, seed) for way in found] for seed in range(options.rounds + 1)
            ]
        table.rows = [median(rows) for rows in zip(*rounds[1:], strict=True)]  # the first round has warmed up
        fastest = next(row["events_per_s"] for row in table.rows if row["what"] == WAYS["null"])
        table.rows = [row | {"x_of_null": ratio(row["events_per_s"], fastest)} for row in table.rows]
        table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
        yield table
        print(verify(books))


def _name(url: str) -> str:
    scheme = url.partition(":")[0]
    return {"amqp": "rabbitmq", "amqps": "rabbitmq", "rediss": "redis"}.get(scheme, scheme)


def _measured(ours: Contender, way: str, seconds: float, seed: int) -> Row:
    figures = ours.measure(Order(way=way, size=SIZE, hot=False, seconds=seconds, seed=seed))
    return {
        "what": WAYS[way],
        "events_per_s": figures["tx_per_s"],
        "p50_ms": figures["p50_ms"],
        "python_cpu_ms": figures["cpu_ms"],
    }
