"""What is done to transactions that stand, 1,000 a commit, beside bookings that are new."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.books import OURS, open_books, verify
from benchmarks.contender import Contender, contender
from benchmarks.contenders.loop import Order
from benchmarks.databases import environment
from benchmarks.harness import Options, Row, Table, load, median, ratio

SIZE = 1000
WAYS = {
    "engine": "book",
    "dated": "book, effective a day ago",
    "charged": "book, with a fee: four legs",
    "hold": "hold",
    "capture": "capture what is held",
    "void": "void what is held",
    "reverse": "take back what is booked",
}


def run(options: Options) -> Iterator[Table]:
    """Back-dated bookings, fees, holds, captures, voids and reversals, 1,000 a commit in one process."""
    with open_books("moves") as books:
        table = Table("moves: 1,000 a commit between 10,000 limited accounts, one process; what they need is not timed")
        begun = load()
        log = options.scratch / "moves.log"
        with contender(Path(sys.executable), OURS, env=environment(books), log=log) as ours:
            rounds = [_round(ours, options.seconds, seed) for seed in range(options.rounds + 1)]
        table.rows = [median([rows[way] for rows in rounds[1:]]) for way in WAYS]  # the first round has warmed up
        table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
        yield table
        print(verify(books))


def _round(ours: Contender, seconds: float, seed: int) -> dict[str, Row]:
    rows = {way: _measured(ours, Order(way=way, size=SIZE, hot=False, seconds=seconds, seed=seed)) for way in WAYS}
    return {way: row | {"x_of_book": ratio(row["tx_per_s"], rows["engine"]["tx_per_s"])} for way, row in rows.items()}


def _measured(ours: Contender, order: Order) -> Row:
    figures = ours.measure(order)
    return {
        "what": WAYS[order["way"]],
        "tx_per_s": figures["tx_per_s"],
        "p50_ms": figures["p50_ms"],
        "python_cpu_ms": figures["cpu_ms"],
    }
