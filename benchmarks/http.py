"""POST /v2/transactions over HTTP, beside an empty DRF view on the same server."""

from __future__ import annotations

import itertools
import json
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple
from uuid import uuid4

from benchmarks.books import open_books, verify
from benchmarks.contenders.loop import ACCOUNTS, CLIENT, transfers, wallet
from benchmarks.databases import environment, owner_url
from benchmarks.generator import Generator, Load, target_of
from benchmarks.harness import Options, Row, Table, load, median, percentile, ratio
from benchmarks.procs import cpu_s, finished, per_item_ms, postgres_pid, redis_pid
from benchmarks.web import Web, web

CONNECTIONS = 32
RATE_PER_S = 600
# A process remembers accounts: so few are known to all of them after the warm-up. Of any 10,000 most are new to them.
KNOWN_ACCOUNTS = 500
EMPTY = "empty DRF view"
# A round over HTTP takes this many times the seconds of one in the engine: more processes have to swing in.
STRETCH = 4


class Arm(NamedTuple):
    """A server and the load it gets."""

    name: str
    server: Web
    generator: Generator


def run(options: Options) -> Iterator[Table]:
    """POST /v2/transactions: saturation, and latency at 600 requests a second, beside an empty DRF view."""
    with ExitStack() as stack:
        books = stack.enter_context(open_books("http"))
        ours = stack.enter_context(web("ours", env=environment(books), ready="/readyz", scratch=options.scratch))
        empty_env = {**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.empty.settings"}
        empty = stack.enter_context(web("empty", env=empty_env, ready="/", scratch=options.scratch))
        arms = [
            Arm("known accounts", ours, _generator(ours, _transactions(books, accounts=KNOWN_ACCOUNTS))),
            Arm("any accounts", ours, _generator(ours, _transactions(books, accounts=ACCOUNTS))),
            Arm(EMPTY, empty, _generator(empty, _nothing())),
        ]
        for arm in arms:
            stack.callback(arm.generator.close)
        yield _compare(
            f"http: POST /v2/transactions at saturation, {CONNECTIONS} connections, each sends when it has its answer",
            arms,
            lambda arm: arm.generator.closed_loop(seconds=options.seconds * STRETCH),
            options,
            ratio_of=("x_of_empty", "per_s"),
        )
        yield _compare(
            f"http: POST /v2/transactions, {RATE_PER_S} requests a second, latency from the instant each is due",
            arms,
            lambda arm: arm.generator.open_loop(per_s=RATE_PER_S, seconds=options.seconds * STRETCH),
            options,
            ratio_of=("x_of_empty_p50", "p50_ms"),
        )
        print(verify(books))


def _compare(
    title: str, arms: list[Arm], measure: Callable[[Arm], Load], options: Options, *, ratio_of: tuple[str, str]
) -> Table:
    """Measure in turns; `ratio_of` names the last column, and the one that it divides by the empty view's."""
    table = Table(title)
    last, divided = ratio_of
    servers = {"postgres": postgres_pid(owner_url()), "valkey": redis_pid(os.environ["REDIS_URL"])}
    measured: dict[str, list[Row]] = defaultdict(list)
    begun = load()
    for number in range(-1, options.rounds):  # the first round warms up and does not count
        figures = {arm.name: _measured(arm, servers, measure) for arm in (arms if number % 2 else reversed(arms))}
        if number >= 0:
            for name, row in figures.items():
                measured[name].append(row | {last: ratio(row[divided], figures[EMPTY][divided])})
    table.rows = [median(measured[arm.name]) for arm in arms]
    table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
    return table


def _measured(arm: Arm, servers: dict[str, int | None], measure: Callable[[Arm], Load]) -> Row:
    pids = {"web": arm.server.pid, **servers}
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    found = measure(arm)
    after = {name: cpu_s(pid) for name, pid in pids.items()}
    odd = sum(count for status, count in found.statuses.items() if status != 201)
    latencies, late = sorted(found.latencies_s), sorted(found.late_s)
    requests = len(latencies)
    return {
        "who": arm.name,
        "per_s": found.per_s,
        "p50_ms": percentile(latencies, 0.5) * 1000,
        "p99_ms": percentile(latencies, 0.99) * 1000,
        "max_ms": latencies[-1] * 1000,
        "not_201": odd,
        **{f"{name}_cpu_ms": per_item_ms(before[name], after[name], requests) for name in pids},
        "generator_cpu_ms": found.cpu_s / requests * 1000,
        "sent_late_p99_ms": percentile(late, 0.99) * 1000,
    }


def _generator(server: Web, requests: Iterator[bytes]) -> Generator:
    return Generator(target_of(server.url), requests, connections=CONNECTIONS)


def _transactions(books: str, *, accounts: int) -> Iterator[bytes]:
    """Yield transfers between any two of the first wallets, each with a key of its own."""
    api_key = _api_key(books)
    source = random.Random(1)
    while True:
        for one in transfers(source, 1000, hot=False, accounts=accounts):
            body = {
                "type": "transfer",
                "debit_account": wallet(one.debit),
                "credit_account": wallet(one.credit),
                "amount": f"{one.amount_minor / 100:.2f}",
                "currency": "USD",
            }
            headers = (
                f"Authorization: Bearer {api_key}\r\nIdempotency-Key: {uuid4()}\r\nPrefer: wait=5\r\n"
                "Content-Type: application/json\r\n"
            )
            yield post_request("/v2/transactions", headers, json.dumps(body))


def _nothing() -> Iterator[bytes]:
    return itertools.repeat(post_request("/", "Content-Type: application/json\r\n", "{}"))


def post_request(path: str, headers: str, body: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def _api_key(books: str) -> str:
    command = ["manage.py", "create_key", CLIENT, "--scopes", "transactions:write"]
    return finished(command, env=environment(books)).strip()
