"""POST /v2/transactions answered with 202 and a receipt, beside an empty DRF view on the same server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.arms import CONNECTIONS, STRETCH, Arm, compare, empty_view
from benchmarks.books import OURS, ROOM, open_books, verify
from benchmarks.contender import contender
from benchmarks.contenders.loop import ACCOUNTS, Order
from benchmarks.databases import environment
from benchmarks.generator import Load
from benchmarks.harness import Options, Table
from benchmarks.http import KNOWN_ACCOUNTS
from benchmarks.payments import api_key, payments
from benchmarks.web import web

ACCEPTED = 202
RATE_PER_S = 1_000


def run(options: Options) -> Iterator[Table]:
    """POST /v2/transactions, accepted (202): saturation, and latency at 1,000 requests a second; nobody posts."""
    with ExitStack() as stack:
        books = stack.enter_context(open_books("accepting"))
        env = {**environment(books), **ROOM}
        ours = stack.enter_context(web("accepting", env=env, ready="/readyz", scratch=options.scratch))
        empty = stack.enter_context(empty_view("accepting", options.scratch))
        poster = stack.enter_context(
            contender(Path(sys.executable), OURS, env=environment(books), log=options.scratch / "poster.log")
        )
        key, seconds = api_key(books), options.seconds * STRETCH
        arms = [
            Arm("known accounts", ours, payments(key, accounts=KNOWN_ACCOUNTS), ACCEPTED),
            Arm("any accounts", ours, payments(key, accounts=ACCOUNTS), ACCEPTED),
            empty,
        ]

        def drain(arm: Arm, found: Load) -> None:
            """Post what was accepted, all of it and nothing else: the next measurement begins with an empty queue."""
            if arm.server is ours:
                poster.measure(Order(way="drain", size=found.statuses[ACCEPTED], hot=False, seconds=0.001, seed=0))

        yield compare(
            f"accepting: POST /v2/transactions at saturation, {CONNECTIONS} connections; posted between measurements",
            arms,
            lambda generator: generator.closed_loop(seconds=seconds),
            options,
            ratio_of=("x_of_empty", "per_s"),
            afterwards=drain,
        )
        yield compare(
            f"accepting: POST /v2/transactions, {RATE_PER_S:,} requests a second, latency from the instant each is due",
            arms,
            lambda generator: generator.open_loop(per_s=RATE_PER_S, seconds=seconds),
            options,
            ratio_of=("x_of_empty_p50", "p50_ms"),
            afterwards=drain,
        )
        print(verify(books))
