"""Posting what was accepted, in one process and with nothing else to do, beside the engine's own rounds."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.books import OURS, ROOM, open_books, verify
from benchmarks.contender import Contender, contender
from benchmarks.contenders.loop import Order
from benchmarks.databases import environment, owner_url
from benchmarks.harness import Options, Row, Table, load, median, ratio
from benchmarks.procs import cpu_s, per_item_ms, postgres_pid

ACCEPT_SIZE, ROUND_SIZE = 50, 500
STRETCH = 2
WAYS = {
    "accept": f"accept, {ACCEPT_SIZE} a commit",
    "drain": f"post what was accepted, {ROUND_SIZE} a round",
    "engine": f"engine, new, {ROUND_SIZE} a round",
}


def run(options: Options) -> Iterator[Table]:
    """Posting alone: accepted transactions drained by one poster, beside the engine's rounds of the same size."""
    with open_books("posting") as books:
        table = Table("posting: transfers between 10,000 limited accounts, one process")
        begun = load()
        log = options.scratch / "posting.log"
        with contender(Path(sys.executable), OURS, env={**environment(books), **ROOM}, log=log) as ours:
            rounds = [_round(ours, options.seconds * STRETCH, seed) for seed in range(options.rounds + 1)]
        table.rows = [median([rows[way] for rows in rounds[1:]]) for way in WAYS]  # the first round has warmed up
        table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
        yield table
        print(verify(books))


def _round(ours: Contender, seconds: float, seed: int) -> dict[str, Row]:
    """Accept for so long, post all of it, and book as much again that is new."""
    accepted, accept = _measured(ours, Order(way="accept", size=ACCEPT_SIZE, hot=False, seconds=seconds, seed=seed))
    _, drain = _measured(ours, Order(way="drain", size=accepted, hot=False, seconds=0.001, seed=seed))
    took_s = accepted / drain["tx_per_s"]
    _, engine = _measured(ours, Order(way="engine", size=ROUND_SIZE, hot=False, seconds=took_s, seed=seed))
    rows = {"accept": accept, "drain": drain, "engine": engine}
    return {way: row | {"x_of_engine": ratio(row["tx_per_s"], engine["tx_per_s"])} for way, row in rows.items()}


def _measured(ours: Contender, order: Order) -> tuple[int, Row]:
    server = postgres_pid(owner_url())
    before = cpu_s(server)
    figures: dict[str, Any] = ours.measure(order)
    after = cpu_s(server)
    items = int(figures["items"])
    return items, {
        "what": WAYS[order["way"]],
        "items": items,
        "tx_per_s": figures["tx_per_s"],
        "python_cpu_ms": figures["cpu_ms"],
        "postgres_cpu_ms": per_item_ms(before, after, items),
    }
