"""Events after their commit: numbered, taken by a listener, published, in one process and with nothing else to do."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.books import OURS, open_books, verify
from benchmarks.contender import Contender, contender
from benchmarks.contenders.loop import Order
from benchmarks.databases import environment
from benchmarks.harness import Options, Row, Table, load, median, ratio
from benchmarks.procs import finished
from benchmarks.web import process
from tests.brokers.kafka import Kafka

RELAYING = "benchmarks.contenders.relaying"
STEADY = "benchmarks.contenders.steady"
SIZE = 1_000
RATE_PER_S, STRETCH = 500, 10
TOLD = {"engine": "with", "untold": "without"}
# By the names of their followers.
WAYS = {
    "number": "numbered",
    "null": "published to nobody",
    "listener": "taken by a listener that writes nothing",
    "redis": "published to Redis Streams",
    "kafka": "published to Kafka",
    "rabbitmq": "published to RabbitMQ",
}


def run(options: Options) -> Iterator[Table]:
    """Events numbered, heard, published to nobody, Redis Streams and Kafka; how long after their commit they come."""
    with ExitStack() as stack:
        urls, notes = _brokers(stack, options)
        books = stack.enter_context(open_books("relay"))
        env = {**environment(books), "EVENTS_URL": ",".join(urls)}
        table = Table(f"relay: the events of {SIZE:,} transfers between 10,000 accounts, one process", notes=notes)
        begun, names = load(), ["number", "null", "listener", *map(_name, urls)]
        with contender(Path(sys.executable), RELAYING, env=env, log=options.scratch / "relay.log") as ours:
            seeds = range(options.rounds + 1)
            rounds = [[_measured(ours, way, options.seconds, seed) for way in names] for seed in seeds]
        table.rows = [median(rows) for rows in zip(*rounds[1:], strict=True)]  # the first round has warmed up
        fastest = next(row["events_per_s"] for row in table.rows if row["what"] == WAYS["null"])
        table.rows = [row | {"x_of_null": ratio(row["events_per_s"], fastest)} for row in table.rows]
        table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
        yield table
        steady = Table(f"relay: from the commit to who takes from the broker, at {RATE_PER_S} transfers a second")
        stack.enter_context(process("relay", "relay", env=env, scratch=options.scratch))
        steady.rows = [_steady(url, env, options.seconds * STRETCH) for url in urls]
        steady.notes.append(f"load {load():.2f} after; {os.cpu_count()} cores")
        yield steady
        print(verify(books))
    yield _outbox(options)


def _outbox(options: Options) -> Table:
    """Return what an outbox row costs the write path: rounds with and without, on books that are not whole then."""
    with open_books("untold") as books:
        log = options.scratch / "untold.log"
        with contender(Path(sys.executable), OURS, env=environment(books), log=log) as ours:
            found = [{way: _rate(ours, way, options, seed) for way in TOLD} for seed in range(options.rounds + 1)]
    table = Table(f"relay: rounds of {SIZE:,} transfers with and without their outbox rows")
    middle = {way: statistics.median(rates[way] for rates in found[1:]) for way in TOLD}
    table.rows = [
        {"what": what, "tx_per_s": middle[way], "x_of_without": ratio(middle[way], middle["untold"])}
        for way, what in TOLD.items()
    ]
    return table


def _rate(ours: Contender, way: str, options: Options, seed: int) -> float:
    order = Order(way=way, size=SIZE, hot=False, seconds=options.seconds, seed=seed)
    return float(ours.measure(order)["tx_per_s"])


def _brokers(stack: ExitStack, options: Options) -> tuple[list[str], list[str]]:
    """Return the brokers that are measured: those of EVENTS_URL, else our Redis and, where it can be had, a Kafka."""
    if os.environ.get("EVENTS_URL"):
        return [url for url in os.environ["EVENTS_URL"].split(",") if url], []
    try:
        kafka = stack.enter_context(Kafka(options.scratch / "kafka"))
    except pytest.skip.Exception as missing:
        return [os.environ["REDIS_URL"]], [f"without Kafka: {missing}"]
    return [os.environ["REDIS_URL"], kafka.url], []


def _steady(url: str, env: Mapping[str, str], seconds: float) -> Row:
    arguments = ["-m", "benchmarks.started", STEADY, url, str(RATE_PER_S), str(seconds)]
    figures: Row = json.loads(finished(arguments, env=env).splitlines()[-1])
    return {"broker": _name(url), **figures}


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
