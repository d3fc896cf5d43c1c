"""Statements of an account over HTTP, in each of their forms."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.arms import STRETCH, cpu_of, latencies, servers
from benchmarks.books import open_books
from benchmarks.contenders.loop import ACCOUNTS
from benchmarks.databases import as_owner, environment
from benchmarks.generator import Generator, target_of
from benchmarks.harness import Options, Row, Table, load, median
from benchmarks.payments import api_key, get_request
from benchmarks.procs import per_item_ms
from benchmarks.web import Web, web

FORMS = ("application/json", "text/csv", "application/xml")
# Every wallet of the books was funded from it, so that it has a line for each.
CASH = "SELECT public_id FROM ledger_account WHERE path = 'cash:USD'"


def run(options: Options) -> Iterator[Table]:
    """GET /v2/accounts/{id}/statement with 10,000 lines in each form, one client that waits."""
    with ExitStack() as stack:
        books = stack.enter_context(open_books("statement"))
        server = stack.enter_context(web("statement", env=environment(books), ready="/readyz", scratch=options.scratch))
        with as_owner(books) as owner:
            path = f"/v2/accounts/{owner.execute(CASH).fetchall()[0][0]}/statement"
        key = api_key(books, scopes="accounts:read")
        table = Table(f"statement: {ACCOUNTS:,} lines of one account, one statement after the other")
        begun, seconds = load(), options.seconds * STRETCH
        rounds = [
            [_measured(server, form, get_request(path, key, accept=form), seconds) for form in FORMS]
            for _ in range(options.rounds + 1)
        ]
        table.rows = [median(rows) for rows in zip(*rounds[1:], strict=True)]  # the first round has warmed up
        table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
        yield table


def _measured(server: Web, form: str, request: bytes, seconds: float) -> Row:
    pids = {"web": server.pid, **servers()}
    generator = Generator(target_of(server.url), itertools.repeat(request), connections=1)
    before = cpu_of(pids)
    try:
        found = generator.closed_loop(seconds=seconds)
    finally:
        generator.close()
    after = cpu_of(pids)
    statements = len(found.latencies_s)
    return {
        "form": form,
        **latencies(found),
        "odd": statements - found.statuses[200],
        "python_cpu_ms": per_item_ms(before["web"], after["web"], statements),
        "postgres_cpu_ms": per_item_ms(before["postgres"], after["postgres"], statements),
    }
