"""Reads at depth: keyset pages and balances of the past, as PostgreSQL itself times them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from benchmarks.books import open_books
from benchmarks.databases import as_owner, environment
from benchmarks.harness import ROOT, Options, Table, load
from benchmarks.procs import finished

MANY_ROWS = (ROOT / "benchmarks/sql/many_rows.sql").read_text()


def run(options: Options) -> Iterator[Table]:
    """Keyset pages of 50 at depth in 2,000,000 transactions; balances of the past with 1,000,000 entries."""
    with open_books("reads") as books:
        with as_owner(books) as owner:
            owner.execute(MANY_ROWS)
            owner.execute("VACUUM ANALYZE")
        table = Table("reads: EXPLAIN ANALYZE of the product's own statements, medians")
        begun = load()
        printed = finished(
            ["-m", "benchmarks.started", "benchmarks.explained", str(options.rounds * 7)], env=environment(books)
        )
        table.rows = [json.loads(line) for line in printed.splitlines()]
        table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
        yield table
