"""Our load generator beside wrk and hey, on the same server with the same connections."""

from __future__ import annotations

import itertools
import os
import re
import resource
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.generator import Generator, target_of
from benchmarks.harness import Options, Row, Table, load, median, percentile, ratio
from benchmarks.web import web

CONNECTIONS = 32
STRETCH = 2
GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

Measure = Callable[[str, float], Row]
_WRK = {
    "per_s": r"Requests/sec:\s+([\d.]+)",
    "p50_ms": r"50%\s+([\d.]+)(us|ms|s)",
    "p99_ms": r"99%\s+([\d.]+)(us|ms|s)",
}
_HEY = {
    "per_s": r"Requests/sec:\s+([\d.]+)",
    "p50_ms": r"50%+ in ([\d.]+) (s)ecs",
    "p99_ms": r"99%+ in ([\d.]+) (s)ecs",
}
_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def run(options: Options) -> Iterator[Table]:
    """Our load generator beside wrk and hey: a closed loop on the empty DRF view."""
    ways: dict[str, Measure] = {"ours": _ours}
    ways |= {name: partial(way, name) for name, way in {"wrk": _wrk, "hey": _hey}.items() if shutil.which(name)}
    table = Table(f"generator: closed loop, {CONNECTIONS} connections, GET of the empty DRF view")
    if len(ways) == 1:
        table.notes.append("Neither wrk nor hey is installed: nothing to compare with.")
    begun = load()
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.empty.settings"}
    measured: dict[str, list[Row]] = defaultdict(list)
    with web("generator", env=env, ready="/", scratch=options.scratch) as server:
        for number in range(-1, options.rounds):
            rows = {
                name: ways[name](server.url, options.seconds * STRETCH)
                for name in list(ways)[:: 1 if number % 2 else -1]
            }
            if number >= 0:
                for name, row in rows.items():
                    measured[name].append(
                        {"who": name} | row | {"x_of_ours": ratio(row["per_s"], rows["ours"]["per_s"])}
                    )
    table.rows = [median(measured[name]) for name in ways]
    table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
    yield table


def _ours(url: str, seconds: float) -> Row:
    generator = Generator(target_of(url), itertools.repeat(GET), connections=CONNECTIONS)
    try:
        found = generator.closed_loop(seconds=seconds)
    finally:
        generator.close()
    latencies = sorted(found.latencies_s)
    return {
        "per_s": found.per_s,
        "p50_ms": percentile(latencies, 0.5) * 1000,
        "p99_ms": percentile(latencies, 0.99) * 1000,
        "generator_cpu_ms": found.cpu_s / len(latencies) * 1000,
    }


def _wrk(name: str, url: str, seconds: float) -> Row:
    return _tool([name, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--latency", url], _WRK, seconds)


def _hey(name: str, url: str, seconds: float) -> Row:
    return _tool([name, "-c", str(CONNECTIONS), "-z", f"{max(1, round(seconds))}s", url], _HEY, seconds)


def _tool(command: list[str], patterns: dict[str, str], seconds: float) -> Row:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    row: Row = {}
    for name, pattern in patterns.items():
        found = re.search(pattern, printed)
        if found is None:
            raise ValueError(f"{command[0]} prints no {name}:\n{printed}")
        number, *unit = found.groups()
        row[name] = float(number) * (_MS[unit[0]] if unit else 1)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return row | {"generator_cpu_ms": cpu_s * 1000 / (row["per_s"] * max(1, round(seconds)))}
