"""One check of a quota: from a lease, from Redis, and without Redis, beside a PING of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

from benchmarks.harness import Options, Row, Table, load, median, percentile
from benchmarks.procs import cpu_s, per_item_ms, redis_pid
from config.localstack.ports import free_port
from config.runtime.quota.bucket import Quota
from config.runtime.quota.limiter import Limiter
from config.runtime.quota.store import Store
from config.runtime.redis import redis_client

# Nobody borrows of a quota that brings less than two tokens a second, and nobody comes to the end of the other.
NEVER_LENT, LENT = Quota(60, 100_000_000), Quota(1_000_000_000, 100_000_000)


def run(options: Options) -> Iterator[Table]:
    """A check of a quota from a lease, from Redis, and while Redis is away, beside a PING; one thread."""
    client, begun = redis_client(os.environ["REDIS_URL"]), load()
    there, gone = Limiter(Store(client)), Limiter(Store(redis_client(f"redis://127.0.0.1:{free_port(0)}/0")))
    one, other, third = uuid4(), uuid4(), uuid4()
    ways: dict[str, Callable[[], object]] = {
        "from a lease": lambda: there.take(one, LENT),
        "from Redis": lambda: there.take(other, NEVER_LENT),
        "Redis away": lambda: gone.take(third, NEVER_LENT),
        "PING": client.ping,
    }
    rounds = [[_measured(name, way, options.seconds) for name, way in ways.items()] for _ in range(options.rounds + 1)]
    table = Table("quota: one check after the other, one thread")
    table.rows = [median(rows) for rows in zip(*rounds[1:], strict=True)]  # the first round has warmed up
    table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
    yield table


def _measured(name: str, way: Callable[[], object], seconds: float) -> Row:
    server = redis_pid(os.environ["REDIS_URL"])
    took_s: list[float] = []
    cpu_begun, server_begun, begun = time.process_time(), cpu_s(server), time.perf_counter()
    now = begun
    while now < begun + seconds:
        way()
        took_s.append(-now + (now := time.perf_counter()))
    python_s, server_after = time.process_time() - cpu_begun, cpu_s(server)
    took_s.sort()
    return {
        "check": name,
        "p50_ms": percentile(took_s, 0.5) * 1000,
        "p99_ms": percentile(took_s, 0.99) * 1000,
        "python_cpu_ms": python_s / len(took_s) * 1000,
        "valkey_cpu_ms": per_item_ms(server_begun, server_after, len(took_s)),
    }
