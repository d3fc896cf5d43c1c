"""A batch of 1,000 over HTTP, beside the engine's round of 1,000."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.arms import STRETCH, cpu_of, latencies, servers
from benchmarks.books import OURS, open_books, verify
from benchmarks.contender import Contender, contender
from benchmarks.contenders.loop import ACCOUNTS, Order
from benchmarks.databases import environment, owner_url
from benchmarks.generator import Generator, target_of
from benchmarks.harness import Options, Row, Table, load, median, ratio
from benchmarks.payments import BATCH_SIZE, api_key, batches
from benchmarks.procs import cpu_s, per_item_ms, postgres_pid
from benchmarks.web import Web, web

POSTED = 207


def run(options: Options) -> Iterator[Table]:
    """POST /v2/transactions/batch with 1,000 items, one client that waits, beside the engine's round of 1,000."""
    with ExitStack() as stack:
        books = stack.enter_context(open_books("batch"))
        server = stack.enter_context(web("batch", env=environment(books), ready="/readyz", scratch=options.scratch))
        engine = stack.enter_context(
            contender(Path(sys.executable), OURS, env=environment(books), log=options.scratch / "batch-engine.log")
        )
        generator = Generator(target_of(server.url), batches(api_key(books), accounts=ACCOUNTS), connections=1)
        stack.callback(generator.close)
        table = Table(f"batch: {BATCH_SIZE:,} transfers between any of {ACCOUNTS:,} accounts, one after the other")
        begun, seconds = load(), options.seconds * STRETCH
        rounds = [_round(server, generator, engine, seconds, seed) for seed in range(options.rounds + 1)]
        table.rows = [median(rows) for rows in zip(*rounds[1:], strict=True)]  # the first round has warmed up
        table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
        yield table
        print(verify(books))


def _round(server: Web, generator: Generator, engine: Contender, seconds: float, seed: int) -> list[Row]:
    rows = [_over_http(server, generator, seconds), _engine(engine, seconds, seed)]
    return [row | {"x_of_engine_p50": ratio(row["p50_ms"], rows[-1]["p50_ms"])} for row in rows]


def _over_http(server: Web, generator: Generator, seconds: float) -> Row:
    pids = {"web": server.pid, **servers()}
    before = cpu_of(pids)
    found = generator.closed_loop(seconds=seconds)
    after = cpu_of(pids)
    items = len(found.latencies_s) * BATCH_SIZE
    answers = latencies(found)
    return {
        "who": "POST /v2/transactions/batch",
        "items_per_s": found.per_s * BATCH_SIZE,
        "p50_ms": answers["p50_ms"],
        "p99_ms": answers["p99_ms"],
        "odd": len(found.latencies_s) - found.statuses[POSTED],
        "python_cpu_ms": per_item_ms(before["web"], after["web"], items),
        "postgres_cpu_ms": per_item_ms(before["postgres"], after["postgres"], items),
    }


def _engine(engine: Contender, seconds: float, seed: int) -> Row:
    server = postgres_pid(owner_url())
    before = cpu_s(server)
    figures = engine.measure(Order(way="engine", size=BATCH_SIZE, hot=False, seconds=seconds, seed=seed))
    after = cpu_s(server)
    return {
        "who": "engine alone",
        "items_per_s": figures["tx_per_s"],
        "p50_ms": figures["p50_ms"],
        "p99_ms": figures["p99_ms"],
        "odd": 0,
        "python_cpu_ms": figures["cpu_ms"],
        "postgres_cpu_ms": per_item_ms(before, after, figures["items"]),
    }
