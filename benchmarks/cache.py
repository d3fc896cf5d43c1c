"""First pages of users' lists while some write: how many need no database, and what that saves."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.request import urlopen
from uuid import uuid4

from benchmarks.arms import cpu_of, latencies, servers
from benchmarks.books import open_books, verify
from benchmarks.contenders.loop import ACCOUNTS, wallet
from benchmarks.databases import environment
from benchmarks.generator import Generator, target_of
from benchmarks.harness import Options, Row, Table, load, median, percentile
from benchmarks.payments import api_key, get_request, post_request
from benchmarks.procs import finished, per_item_ms
from benchmarks.web import Web, process, web
from benchmarks.zipf import users
from config.runtime.cache.cache import VersionedCache
from config.runtime.cache.store import Version
from config.runtime.redis import redis_client

CONNECTIONS = 16
TRANSFERS = 50_000
WRITES_EVERY = 20
OPERATIONS, STRETCHES, SHOWN_EVERY = 150_000, 5, 1_000
TTL_S = 300
# Until those who seldom ask have asked once; then what counts.
WARM_STRETCH, STRETCH = 60, 20
READS = re.compile(r'^cache_reads_total\{cache="transactions",outcome="(\w+)"\} (\S+)$', re.MULTILINE)


def run(options: Options) -> Iterator[Table]:
    """GET /v2/transactions?user_id= of 10,000 users, 95 reads to 5 transfers, with the cache and without."""
    yield _alone(round(options.seconds * OPERATIONS))
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


def _alone(operations: int) -> Table:
    """Measure the cache by itself, as the users come to be known; the lists are empty, so that many are read."""
    cache = VersionedCache(redis_client(os.environ["REDIS_URL"]), ttl_s=TTL_S)
    owner, chosen = uuid4().int, users(random.Random(6), ACCOUNTS)
    table = Table(
        f"cache: by itself, {ACCOUNTS:,} users by Zipf, 95 reads to 5 writes of two users, each told of twice"
    )
    begun, stretch = load(), operations // STRETCHES
    for number in range(STRETCHES):
        hits, took_s = 0, list[float]()
        for step in range(stretch):
            if step % SHOWN_EVERY == 0:
                cache.show_followed()
            if step % WRITES_EVERY:
                version = Version(owner, str(next(chosen)))
                asked_at = time.perf_counter()
                hits += cache.read("bench", version, version.name, bytes).age_s is not None
                took_s.append(time.perf_counter() - asked_at)
            else:
                stamps = {owner: {str(next(chosen)): f"{number}:{step}" for _ in range(2)}}
                cache.bump(stamps)
                cache.bump_again(stamps)
        took_s.sort()
        table.rows.append(
            {
                "operations": f"{number * stretch + 1:,} to {(number + 1) * stretch:,}",
                "hit_ratio": hits / len(took_s),
                "read_p50_ms": percentile(took_s, 0.5) * 1000,
                "read_p99_ms": percentile(took_s, 0.99) * 1000,
            }
        )
    table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
    return table


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
