"""POST /v2/transactions that waits for the booking, beside an empty DRF view on the same server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.arms import CONNECTIONS, STRETCH, Arm, compare, empty_view
from benchmarks.books import open_books, verify
from benchmarks.contenders.loop import ACCOUNTS
from benchmarks.databases import environment
from benchmarks.harness import Options, Table
from benchmarks.payments import api_key, payments
from benchmarks.web import web

RATE_PER_S = 600
# A process remembers accounts: so few are known to all of them after the warm-up. Of any 10,000 most are new to them.
KNOWN_ACCOUNTS = 500
WAIT = "wait=5"


def run(options: Options) -> Iterator[Table]:
    """POST /v2/transactions, Prefer: wait: saturation, latency at 600 requests a second, one client alone."""
    with ExitStack() as stack:
        books = stack.enter_context(open_books("http"))
        ours = stack.enter_context(web("http", env=environment(books), ready="/readyz", scratch=options.scratch))
        empty = stack.enter_context(empty_view("http", options.scratch))
        key, seconds = api_key(books), options.seconds * STRETCH
        arms = [
            Arm("known accounts", ours, payments(key, accounts=KNOWN_ACCOUNTS, prefer=WAIT)),
            Arm("any accounts", ours, payments(key, accounts=ACCOUNTS, prefer=WAIT)),
            empty,
        ]
        yield compare(
            f"http: POST /v2/transactions at saturation, {CONNECTIONS} connections, each sends when it has its answer",
            arms,
            lambda generator: generator.closed_loop(seconds=seconds),
            options,
            ratio_of=("x_of_empty", "per_s"),
        )
        yield compare(
            f"http: POST /v2/transactions, {RATE_PER_S} requests a second, latency from the instant each is due",
            arms,
            lambda generator: generator.open_loop(per_s=RATE_PER_S, seconds=seconds),
            options,
            ratio_of=("x_of_empty_p50", "p50_ms"),
        )
        yield compare(
            "http: POST /v2/transactions, one client that waits for each answer",
            arms,
            lambda generator: generator.closed_loop(seconds=options.seconds),
            options,
            ratio_of=("x_of_empty_p50", "p50_ms"),
            connections=1,
        )
        print(verify(books))
