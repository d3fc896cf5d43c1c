"""Reads at depth: keyset pages and balances of the past, as PostgreSQL itself times them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

from benchmarks.books import open_books
from benchmarks.databases import as_owner, environment
from benchmarks.harness import ROOT, Options, Table, load
from benchmarks.procs import finished
from ledger.services.folding import SIZE

MANY_ROWS = (ROOT / "benchmarks/sql/many_rows.sql").read_text()
FOLD = """
SELECT sum(ledger_fold_time_shifts(account_id, %s, 1000000))
FROM ledger_balance
WHERE version = 1000000
"""


def run(options: Options) -> Iterator[Table]:
    """Keyset pages of 50 at depth in 2,000,000 transactions; balances of the past with 1,000,000 entries."""
    with open_books("reads") as books:
        with as_owner(books) as owner:
            owner.execute(MANY_ROWS)
            begun_s = time.perf_counter()
            owner.execute(FOLD, [SIZE])
            folded_s = time.perf_counter() - begun_s
            owner.execute("VACUUM ANALYZE")
        table = Table("reads: EXPLAIN ANALYZE of the product's own statements, medians")
        begun = load()
        printed = finished(
            ["-m", "benchmarks.started", "benchmarks.explained", str(options.rounds * 7)], env=environment(books)
        )
        table.rows = [json.loads(line) for line in printed.splitlines()]
        table.notes.append(f"the 1,010,000 back-dated entries of both accounts were folded in {folded_s:.0f} s")
        table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
        yield table
