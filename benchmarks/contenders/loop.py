"""The contender's side of the conversation, and the workload, equal for all. The standard library alone.

One JSON object a line: an `Order` comes in on standard input, its figures go out on the descriptor that the last
argument names.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

CLIENT = "benchmark"
ACCOUNTS = 10_000
AMOUNT_MINOR_MAX = 100


class Transfer(NamedTuple):
    """One item of the workload: accounts by their number from 0."""

    debit: int
    credit: int
    amount_minor: int


class Way(NamedTuple):
    """How a contender posts: `prepare` is what its caller has done before, `post` is measured, `check` raises."""

    prepare: Callable[[Sequence[Transfer]], Any]
    post: Callable[[Any], Any]
    check: Callable[[Any], None]


class Order(TypedDict):
    """One measurement: `size` items a commit, for `seconds` of posting."""

    way: str
    size: int
    hot: bool
    seconds: float
    seed: int


def serve(ways: Mapping[str, Way]) -> None:
    """Measure what is ordered until standard input ends."""
    with os.fdopen(int(sys.argv[-1]), "w") as answers:
        for line in sys.stdin:
            order: Order = json.loads(line)
            answers.write(json.dumps(measure(ways[order["way"]], order)) + "\n")
            answers.flush()


def measure(way: Way, order: Order) -> dict[str, float]:
    """Post groups one after the other; only the posting counts, not what is prepared and checked between."""
    source = random.Random(order["seed"])
    took_s: list[float] = []
    cpu_s = 0.0
    while sum(took_s) < order["seconds"]:
        prepared = way.prepare(transfers(source, order["size"], hot=order["hot"]))
        cpu_begun, begun = time.process_time(), time.perf_counter()
        answer = way.post(prepared)
        took_s.append(time.perf_counter() - begun)
        cpu_s += time.process_time() - cpu_begun
        way.check(answer)
    took_s.sort()
    items = len(took_s) * order["size"]
    return {
        "items": items,
        "tx_per_s": items / sum(took_s),
        "p50_ms": took_s[len(took_s) // 2] * 1000,
        "p99_ms": took_s[min(len(took_s) - 1, int(len(took_s) * 0.99))] * 1000,
        "cpu_ms": cpu_s / items * 1000,
    }


def transfers(source: random.Random, size: int, *, hot: bool, accounts: int = ACCOUNTS) -> list[Transfer]:
    """Return transfers between any two of the first accounts; a hot one, account 0, pays and is paid in turn."""
    found = []
    for number in range(size):
        debit, credit = source.sample(range(accounts), 2) if not hot else (0, source.randrange(1, accounts))
        if hot and number % 2:
            debit, credit = credit, debit
        found.append(Transfer(debit, credit, source.randint(1, AMOUNT_MINOR_MAX)))
    return found


def wallet(number: int) -> str:
    """Return the path of an account of the workload in our books."""
    return f"users:{number:05}:USD"
