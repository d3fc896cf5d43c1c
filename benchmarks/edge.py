"""What stands between the network and the ledger: around an empty view, and in reading a batch and writing a page."""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec

from benchmarks.arms import CONNECTIONS, EMPTY, STRETCH, Arm, compare, empty_view
from benchmarks.books import open_books
from benchmarks.contenders.loop import ACCOUNTS
from benchmarks.databases import environment
from benchmarks.harness import ROOT, Options, Row, Table, load, median, percentile, ratio
from benchmarks.payments import BATCH_SIZE, api_key, items, post_request
from benchmarks.procs import finished
from benchmarks.web import web

PAGE_SIZE = 100
EXAMPLES = ROOT / "config" / "api" / "examples-v2.json"


def run(options: Options) -> Iterator[Table]:
    """An empty view behind authentication, quota, parsing, log and metrics; a batch read, a page written."""
    with ExitStack() as stack:
        books = stack.enter_context(open_books("edge"))
        settings = {"DJANGO_SETTINGS_MODULE": "benchmarks.empty.behind"}
        env = environment(books) | settings
        behind = stack.enter_context(web("edge", env=env, ready="/readyz", scratch=options.scratch))
        empty = stack.enter_context(empty_view("edge", options.scratch))
        table = compare(
            f"edge: POST to an empty view at saturation, {CONNECTIONS} connections",
            [Arm("behind the whole edge", behind, transfers(api_key(books))), empty],
            lambda generator: generator.closed_loop(seconds=options.seconds * STRETCH),
            options,
            ratio_of=("x_of_empty_cpu", "web_cpu_ms"),
        )
        (floor_ms,) = (row["web_cpu_ms"] for row in table.rows if row["who"] == EMPTY)
        table.rows = [row | {"edge_cpu_ms": row["web_cpu_ms"] - floor_ms} for row in table.rows]
        yield table
        yield _in_process(options, environment(books))


def transfers(key: str) -> Iterator[bytes]:
    headers = f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    for item in items(random.Random(1), accounts=ACCOUNTS):
        yield post_request("/v2/empty", headers, json.dumps(item))


def _in_process(options: Options, env: dict[str, str]) -> Table:
    table, begun = Table("edge: JSON in and out, one thread"), load()
    command = ["-m", "benchmarks.started", "benchmarks.edge", str(options.seconds)]
    rounds = [map(json.loads, finished(command, env=env).splitlines()) for _ in range(options.rounds)]
    table.rows = [median(rows) for rows in zip(*rounds, strict=True)]
    table.notes.append("a check of a quota: `bench quota`; a page at depth: `bench reads`")
    table.notes.append(f"load {begun:.2f} before, {load():.2f} after")
    return table


def main() -> None:
    """Print a row for each way in and out, and for its floor, as JSON; Django is set up."""
    for name, (ours, floor) in _ways().items():
        row = _timed(ours, float(sys.argv[-1]))
        floor_ms = _timed(floor, float(sys.argv[-1]))["p50_ms"]
        print(
            json.dumps({"what": name} | row | {"floor_p50_ms": floor_ms, "x_of_floor": ratio(row["p50_ms"], floor_ms)})
        )


def _ways() -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    # Here Django is set up.
    from config.api.encoding import encode
    from config.api.json import parse_strict
    from ledger.api.v2.bodies import BatchIn, batch_of
    from ledger.domain.shapes import TransactionShape

    batch = {"mode": "partial", "items": [*itertools.islice(items(random.Random(2), accounts=ACCOUNTS), BATCH_SIZE)]}
    body = json.dumps(batch).encode()
    shown = json.loads(EXAMPLES.read_bytes())["get_transaction"]["answers"]["200"]["application/json"]
    page = {"data": [msgspec.convert(shown, TransactionShape)] * PAGE_SIZE, "next_cursor": None, "prev_cursor": None}
    plain = page | {"data": [shown] * PAGE_SIZE}
    return {
        f"a batch of {BATCH_SIZE:,} read and checked; its floor: msgspec alone": (
            lambda: batch_of(parse_strict(body), operation="transactions.submit"),
            lambda: msgspec.json.decode(body, type=BatchIn),
        ),
        f"a page of {PAGE_SIZE} transactions written; its floor: json.dumps": (
            lambda: encode(page),
            lambda: json.dumps(plain),
        ),
    }


def _timed(way: Callable[[], Any], seconds: float) -> Row:
    took_s: list[float] = []
    now = begun = time.perf_counter()
    while now < begun + seconds:
        way()
        took_s.append(-now + (now := time.perf_counter()))
    took_s.sort()
    return {"p50_ms": percentile(took_s, 0.5) * 1000, "p99_ms": percentile(took_s, 0.99) * 1000}
