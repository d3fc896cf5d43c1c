"""First pages of users' lists while some write: how many need no database, and what that saves."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.request import urlopen
from uuid import uuid4

from benchmarks.arms import cpu_of, latencies, servers
from benchmarks.books import open_books, verify
from benchmarks.contenders.loop import ACCOUNTS, wallet
from benchmarks.databases import environment
from benchmarks.generator import Generator, target_of
from benchmarks.harness import Options, Row, Table, load, median
from benchmarks.payments import api_key, get_request, post_request
from benchmarks.procs import finished, per_item_ms
from benchmarks.web import Web, process, web
from benchmarks.zipf import users

CONNECTIONS = 16
TRANSFERS = 50_000
WRITES_EVERY = 20
# Until those who seldom ask have asked once; then what counts.
WARM_STRETCH, STRETCH = 60, 20
READS = re.compile(r'^cache_reads_total\{cache="transactions",outcome="(\w+)"\} (\S+)$', re.MULTILINE)


def run(options: Options) -> Iterator[Table]:
    """GET /v2/transactions?user_id= of 10,000 users, 95 reads to 5 transfers, with the cache and without."""
    with ExitStack() as stack:
        books = stack.enter_context(open_books("cache"))
        filling = ["-m", "benchmarks.started", "benchmarks.contenders.transferring", str(TRANSFERS)]
        finished(filling, env=environment(books))
        stack.enter_context(process("relay", "cache", env=environment(books), scratch=options.scratch))
        arms = {
            name: stack.enter_context(
                web(
                    f"cache-{switch}",
                    env={**environment(books), "CACHE_ANSWERS": switch},
                    ready="/readyz",
                    scratch=options.scratch,
                )
            )
            for name, switch in (("kept", "1"), ("always read", "0"))
        }
        key = api_key(books, scopes="transactions:read,transactions:write")
        begun, seconds = load(), options.seconds * STRETCH
        requests = {name: _mix(key, random.Random(5)) for name in arms}
        _measured("", arms["kept"], requests["kept"], options.seconds * WARM_STRETCH)
        rounds = [
            [_measured(name, server, requests[name], seconds) for name, server in arms.items()]
            for _ in range(options.rounds)
        ]
        table = Table(f"cache: {ACCOUNTS:,} users by Zipf, 95 reads to 5 transfers, {CONNECTIONS} connections")
        table.rows = [median(rows) for rows in zip(*rounds, strict=True)]
        table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
        yield table
        print(verify(books))


def _mix(key: str, source: random.Random) -> Iterator[bytes]:
    chosen = users(source, ACCOUNTS)
    headers = f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\nPrefer: wait=5\r\n"
    for number in itertools.count():
        if number % WRITES_EVERY:
            user = wallet(next(chosen)).split(":")[1]
            yield get_request(f"/v2/transactions?user_id={user}", key, accept="application/json")
            continue
        debit = credit = next(chosen)
        while credit == debit:
            credit = next(chosen)
        body = {"type": "transfer", "debit_account": wallet(debit), "credit_account": wallet(credit)}
        sent = json.dumps(body | {"amount": "0.01", "currency": "USD"})
        yield post_request("/v2/transactions", f"{headers}Idempotency-Key: {uuid4()}\r\n", sent)


def _measured(name: str, server: Web, requests: Iterator[bytes], seconds: float) -> Row:
    pids = {"web": server.pid, **servers()}
    generator = Generator(target_of(server.url), requests, connections=CONNECTIONS)
    before, reads_before = cpu_of(pids), _reads(server)
    try:
        found = generator.closed_loop(seconds=seconds)
    finally:
        generator.close()
    after, reads = cpu_of(pids), _reads(server)
    count = len(found.latencies_s)
    asked = {outcome: reads[outcome] - reads_before.get(outcome, 0.0) for outcome in reads}
    return {
        "lists": name,
        "hit_ratio": asked.get("hit", 0.0) / sum(asked.values()) if sum(asked.values()) else None,
        **latencies(found),
        "odd": count - found.statuses[200] - found.statuses[201],
        **{f"{role}_cpu_ms": per_item_ms(before[role], after[role], count) for role in pids},
    }


def _reads(server: Web) -> dict[str, float]:
    """Return how many reads of lists there were, by what came of them."""
    with urlopen(f"{server.url}/v2/health/metrics") as answer:
        return {outcome: float(count) for outcome, count in READS.findall(answer.read().decode())}
