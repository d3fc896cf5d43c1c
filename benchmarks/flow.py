"""Accepted to final: web, worker and relay together, in a burst and at a steady rate."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import Any

import psycopg
from psycopg.rows import dict_row

from benchmarks.arms import CONNECTIONS, cpu_of, latencies, servers
from benchmarks.books import open_books, verify
from benchmarks.contenders.loop import ACCOUNTS
from benchmarks.databases import as_owner, environment
from benchmarks.generator import Generator, Load, target_of
from benchmarks.harness import Options, Row, Table, load, ratio
from benchmarks.payments import api_key, payments
from benchmarks.procs import per_item_ms, wait_until
from benchmarks.queue import Watch, depth
from benchmarks.statements import Statements
from benchmarks.web import Service, service

ACCEPTED, FULL = 202, 503
QUEUE_SIZE = 10_000
RATE_PER_S, RATE_MIN_PER_S = 1_000.0, 50.0
STEP = 0.85
STEADY_S_MIN, PROBE_S, BURST_S, FULL_WITHIN_S, DRAIN_WITHIN_S = 20.0, 6.0, 10.0, 60.0, 120.0
# Steady is: nothing refused, every request sent, the queue neither long nor growing.
QUEUE_SHARE_MAX, SENT_SHARE_MIN, GROWTH_SHARE_MAX = 0.7, 0.98, 0.02

FINAL = """
SELECT
    count(*) FILTER (WHERE status = 'completed') AS completed,
    count(*) FILTER (WHERE status <> 'completed') AS others,
    extract(epoch FROM max(completed_at) - min(completed_at))::float AS seconds,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM completed_at - created_at))::float * 1000 AS p50_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM completed_at - created_at))::float * 1000 AS p99_ms
FROM ledger_transaction
WHERE created_at >= %s
"""


def run(options: Options) -> Iterator[Table]:
    """Accepted to final, all processes: a burst until the queue is full, and the rate at which it stays short."""
    with ExitStack() as stack:
        books = stack.enter_context(open_books("flow"))
        owner = stack.enter_context(as_owner(books))
        env = {**environment(books), "PROCESSOR_QUEUE_SIZE": str(QUEUE_SIZE)}
        product = stack.enter_context(service("flow", env=env, scratch=options.scratch))
        requests = payments(api_key(books), accounts=ACCOUNTS)
        generator = Generator(target_of(product.url), requests, connections=CONNECTIONS)
        stack.callback(generator.close)
        flow = Flow(product, generator, owner, books)
        title = f"flow: burst until the queue holds {QUEUE_SIZE:,}, at most {FULL_WITHIN_S:g} s"
        yield Table(title, flow.bursts())
        yield from flow.steady(max(STEADY_S_MIN, options.seconds))
        print(verify(books))


class Flow:
    """The service under load, with its queue, its rows and its processes in view."""

    def __init__(self, product: Service, generator: Generator, owner: psycopg.Connection, books: str) -> None:
        self._product, self._generator, self._owner, self._books = product, generator, owner, books
        self._pids: dict[str, int | None] = {**product.pids, **servers()}

    def bursts(self) -> list[Row]:
        """Send as fast as answers come while the worker posts, and again while it stands still."""
        worker = self._product.pids["worker"]
        resume = partial(os.killpg, worker, signal.SIGCONT)
        rows = [self._burst("posting meanwhile", BURST_S, lambda: None)]
        os.killpg(worker, signal.SIGSTOP)
        try:
            rows.append(self._burst("posting afterwards", FULL_WITHIN_S, resume))
        finally:
            resume()
        return rows

    def _burst(self, who: str, seconds: float, then: Callable[[], None]) -> Row:
        """Go on until an answer says that the queue is full; `then` wait until it is empty."""
        at = self._now()
        before = cpu_of(self._pids)
        found = self._generator.closed_loop(seconds=seconds, stop=lambda: self._generator.statuses[FULL] > 0)
        left = depth(self._owner)
        then()
        drain_s = self._drain()
        after = cpu_of(self._pids)
        final = self._final(at)
        accepted = found.statuses[ACCEPTED]
        row = {
            "burst": who,
            "accepted": accepted,
            "accepted_per_s": accepted / found.seconds,
            "full_after_s": found.seconds if found.statuses[FULL] else None,
            "odd": sum(found.statuses.values()) - accepted - found.statuses[FULL],
            "queue": left,
            "drain_s": drain_s,
            "drained_per_s": left / drain_s,
            "final_per_s": accepted / (found.seconds + drain_s),
            "not_completed": final["others"],
        }
        return row | {f"{name}_cpu_ms": per_item_ms(before[name], after[name], accepted) for name in self._pids}

    def steady(self, seconds: float) -> Iterator[Table]:
        """Find a rate at which the queue stays short, and hold it for so long."""
        table = Table("flow: steady, open loop; the last line counts")
        begun, rate, length = load(), RATE_PER_S, PROBE_S
        while True:
            statements = Statements(self._books)
            row, held, watch = self._hold(rate, length)
            table.rows.append(row)
            if (held and length == seconds) or rate * STEP < RATE_MIN_PER_S:
                break
            if held:
                length = seconds
            else:
                rate *= STEP
        table.notes.append(_load(begun))
        yield table
        yield self._processes(row, watch)
        yield statements.table("flow: statements of the steady rate, by time in PostgreSQL", items=row["accepted"])

    def _hold(self, per_s: float, seconds: float) -> tuple[Row, bool, Watch]:
        """Send so many a second; return what was measured, and whether the service has kept up."""
        at, before = self._now(), cpu_of(self._pids)
        with Watch(self._books, self._pids, seconds=seconds, depth_max=QUEUE_SHARE_MAX * QUEUE_SIZE) as watch:
            found = self._generator.open_loop(per_s=per_s, seconds=seconds, stop=watch.is_too_long.is_set)
        self._drain()
        after = cpu_of(self._pids)
        accepted = found.statuses[ACCEPTED]
        held = (
            not watch.is_too_long.is_set()
            and accepted == sum(found.statuses.values())
            and found.per_s >= SENT_SHARE_MIN * per_s
            and watch.growth_per_s <= GROWTH_SHARE_MAX * per_s
        )
        row = self._row(per_s, found, watch, self._final(at))
        row |= {f"{name}_cpu_ms": per_item_ms(before[name], after[name], accepted) for name in self._pids}
        return row, held, watch

    def _row(self, per_s: float, found: Load, watch: Watch, final: Row) -> Row:
        answers = latencies(found)
        return {
            "rate": per_s,
            "seconds": found.seconds,
            "accepted": found.statuses[ACCEPTED],
            "odd": sum(found.statuses.values()) - found.statuses[ACCEPTED],
            "answer_p50_ms": answers["p50_ms"],
            "answer_p99_ms": answers["p99_ms"],
            "final_per_s": ratio(final["completed"], final["seconds"]),
            "final_p50_ms": final["p50_ms"],
            "final_p99_ms": final["p99_ms"],
            "not_completed": final["others"],
            "queue_min": watch.depths[0],
            "queue_median": watch.depths[len(watch.depths) // 2],
            "queue_max": watch.depths[-1],
            "queue_growth_per_s": watch.growth_per_s,
            "generator_cpu_ms": found.cpu_s / len(found.latencies_s) * 1000,
        }

    def _processes(self, row: Row, watch: Watch) -> Table:
        table = Table("flow: processes at the steady rate; memory at a fifth of the time and at its end")
        early, late = watch.own_mb
        for name in self._pids:
            table.rows.append(
                {
                    "process": name,
                    "cpu_ms": row.pop(f"{name}_cpu_ms"),
                    "own_mb_early": early[name],
                    "own_mb_late": late[name],
                }
            )
        return table

    def _drain(self) -> float:
        """Wait until nothing is left in the queue, and return the seconds that took."""
        begun = self._now()
        wait_until(lambda: depth(self._owner) == 0, timeout_s=DRAIN_WITHIN_S, what="the queue is empty")
        return max(0.001, (self._now() - begun).total_seconds())

    def _final(self, since: datetime) -> Row:
        with self._owner.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(FINAL, [since]).fetchall()[0]

    def _now(self) -> datetime:
        row: tuple[Any, ...] = self._owner.execute("SELECT clock_timestamp()").fetchall()[0]
        moment: datetime = row[0]
        return moment


def _load(begun: float) -> str:
    return f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores"
