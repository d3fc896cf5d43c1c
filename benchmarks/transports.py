"""Brokers alone: what each takes of us and gives to us, with messages that tell nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from benchmarks.harness import Options, Row, Table, load, median
from ledger.events.transports.base import Message
from ledger.events.transports.registry import open_source, open_transport
from tests.brokers.kafka import Kafka
from tests.brokers.rabbitmq import RabbitMQ
from tests.brokers.server import BrokerMissing
from tests.valkey import Server as Valkey

BROKERS: dict[str, Callable[[Path], Any]] = {"Kafka": Kafka, "RabbitMQ": RabbitMQ, "Redis Streams": Valkey}
BATCH, KEYS, SIZE_BYTES = 1_000, 500, 1_000
TOPIC, GROUP = "transactions", "benchmark"
PATIENCE_S = 60


def run(options: Options) -> Iterator[Table]:
    """Messages of 1 KB published 1,000 in a batch, and taken again, by each transport whose broker can be had."""
    table = Table(f"transports: {SIZE_BYTES:,} bytes a message, {BATCH:,} a batch, one publisher, then one consumer")
    begun, urls = load(), {}
    with ExitStack() as stack:
        for name, broker in BROKERS.items():
            directory = options.scratch / name
            directory.mkdir()
            try:
                urls[name] = stack.enter_context(broker(directory)).url
            except BrokerMissing as missing:
                table.notes.append(str(missing))
        rounds = [
            [_measured(name, url, options.seconds) for name, url in urls.items()] for _ in range(options.rounds + 1)
        ]
    table.rows = [median(rows) for rows in zip(*rounds[1:], strict=True)]  # the first round has warmed up
    table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
    yield table


def _measured(broker: str, url: str, seconds: float) -> Row:
    batch = [Message(TOPIC, f"{number % KEYS}", os.urandom(SIZE_BYTES), HEADERS) for number in range(BATCH)]
    with closing(open_source(url, topics=[TOPIC], group=GROUP)) as source, closing(open_transport(url)) as transport:
        source.poll(size=1, timeout_s=0.1)  # from now on what is published is for it
        transport.publish(batch[:1])
        published, begun, cpu_begun = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - begun < seconds:
            assert transport.publish(batch) == {}
            published += BATCH
        publishing_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu_begun
        begun, taken = time.perf_counter(), 0
        while taken <= published:
            received = source.poll(size=BATCH, timeout_s=1)
            source.done(received)
            taken += len(received)
            assert time.perf_counter() - begun < PATIENCE_S
        taking_s = time.perf_counter() - begun
    return {
        "broker": broker,
        "published_per_s": published / publishing_s,
        "publisher_cpu_ms": 1000 * cpu_s / published,
        "taken_per_s": taken / taking_s,
    }


HEADERS = {
    "ce_specversion": "1.0",
    "ce_id": "0199c7a8-6b1e-7000-8000-000000000000",
    "ce_type": "transaction.completed",
    "ce_source": "/countinghouse",
    "content-type": "application/json",
}
