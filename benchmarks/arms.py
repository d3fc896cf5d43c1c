"""HTTP servers under load, measured in turns, with the CPU of everything that takes part."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.databases import owner_url
from benchmarks.generator import Generator, Load, target_of
from benchmarks.harness import Options, Row, Table, load, median, percentile, ratio
from benchmarks.payments import nothing
from benchmarks.procs import cpu_s, per_item_ms, postgres_pid, redis_pid
from benchmarks.web import Web, web

# As many as the two web processes have threads: with fewer, smaller groups share a commit.
CONNECTIONS = 64
EMPTY = "empty DRF view"
# A round over HTTP takes this many times the seconds of one in the engine: more processes have to swing in.
STRETCH = 3

Measure = Callable[[Generator], Load]


class Arm(NamedTuple):
    """A server and the load it gets; `expected` is the one right answer to it."""

    name: str
    server: Web
    requests: Iterator[bytes]
    expected: int = 201


@contextmanager
def empty_view(name: str, scratch: Path) -> Iterator[Arm]:
    """Serve the empty view for a benchmark: what is left of its figures when there is nothing to do."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.empty.settings"}
    with web(f"{name}-empty", env=env, ready="/", scratch=scratch) as server:
        yield Arm(EMPTY, server, nothing())


def compare(
    title: str,
    arms: list[Arm],
    measure: Measure,
    options: Options,
    *,
    ratio_of: tuple[str, str],
    connections: int = CONNECTIONS,
    afterwards: Callable[[Arm, Load], None] = lambda _arm, _found: None,
) -> Table:
    """Measure in turns; `ratio_of` names the last column, and the one that it divides by the empty view's.

    `afterwards` is called after every measurement, and not measured.
    """
    table = Table(title)
    last, divided = ratio_of
    measured: dict[str, list[Row]] = defaultdict(list)
    begun = load()
    for number in range(-1, options.rounds):  # the first round warms up and does not count
        figures = dict[str, Row]()
        for arm in arms if number % 2 else reversed(arms):
            figures[arm.name], found = _measured(arm, measure, connections)
            afterwards(arm, found)
        if number >= 0:
            for name, row in figures.items():
                measured[name].append(row | {last: ratio(row[divided], figures[EMPTY][divided])})
    table.rows = [median(measured[arm.name]) for arm in arms]
    table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
    return table


def servers() -> dict[str, int | None]:
    """Return the processes of PostgreSQL and of Valkey."""
    return {"postgres": postgres_pid(owner_url()), "valkey": redis_pid(os.environ["REDIS_URL"])}


def cpu_of(pids: Mapping[str, int | None]) -> dict[str, float | None]:
    return {name: cpu_s(pid) for name, pid in pids.items()}


def _measured(arm: Arm, measure: Measure, connections: int) -> tuple[Row, Load]:
    pids = {"web": arm.server.pid, **servers()}
    generator = Generator(target_of(arm.server.url), arm.requests, connections=connections)
    before = cpu_of(pids)
    try:
        found = measure(generator)
    finally:
        generator.close()
    after = cpu_of(pids)
    requests = len(found.latencies_s)
    row = {
        "who": arm.name,
        **latencies(found),
        "odd": requests - found.statuses[arm.expected],
        **{f"{name}_cpu_ms": per_item_ms(before[name], after[name], requests) for name in pids},
        "generator_cpu_ms": found.cpu_s / requests * 1000,
        "sent_late_p99_ms": percentile(sorted(found.late_s), 0.99) * 1000,
    }
    return row, found


def latencies(found: Load) -> Row:
    """Return what the answers say of speed."""
    ordered = sorted(found.latencies_s)
    return {
        "per_s": found.per_s,
        "p50_ms": percentile(ordered, 0.5) * 1000,
        "p99_ms": percentile(ordered, 0.99) * 1000,
        "max_ms": ordered[-1] * 1000,
    }
