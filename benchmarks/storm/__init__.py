"""A storm on a stack of its own: processes and servers are killed under load, and then the books are looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

from benchmarks.harness import ROOT, Options, Table, load

SECONDS, SECONDS_MIN = 120.0, 10.0
RELAYS_TEST, RELAYS_SECONDS_MAX = "tests/acceptance/test_relays.py", 60.0
# What points to servers: the storm has its own, which it kills.
SERVERS = (
    "DATABASE_URL",
    "MIGRATE_DATABASE_URL",
    "READONLY_DATABASE_URL",
    "DIRECT_DATABASE_URL",
    "REDIS_URL",
    "DRAMATIQ_BROKER_URL",
    "SECRET_KEY",
    "PROMETHEUS_MULTIPROC_DIR",
)


def run(options: Options) -> Iterator[Table]:
    """kill -9 of everything at random for two minutes (STORM_S, --seconds from 10 on): nothing lost, nothing twice."""
    begun = load()
    seconds = options.seconds if options.seconds >= SECONDS_MIN else SECONDS
    printed, code = _stormed(os.environ.get("STORM_S", str(seconds)))
    report = json.loads(printed.splitlines()[-1]) if printed else {"tables": []}
    for number, one in enumerate(report["tables"]):
        table = Table(one["title"], one["rows"])
        if not number:
            table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
        yield table
    if code:
        raise RuntimeError(f"The storm has done harm: {', '.join(report.get('harm', ['it did not end']))}.")
    yield _relays(min(seconds, RELAYS_SECONDS_MAX))


def _relays(seconds: float) -> Table:
    """Have three relays, a Kafka and a RabbitMQ killed at random, as a test does for less long.

    Raises:
        RuntimeError: an event was lost, or told out of its order, or a broker cannot be had; the message ends with why.
    """
    timeout = ["--timeout", str(10 * seconds + 300)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", RELAYS_TEST, "-q", "-n", "0", *timeout],
        cwd=ROOT,
        env={**os.environ, "STORM_S": str(seconds), "TESTS_NEED_ALL": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{RELAYS_TEST} failed:\n{done.stdout[-3000:]}")
    title = f"storm: six writers, three relays, a Kafka and a RabbitMQ that are killed at random for {seconds:g} s"
    return Table(title, [{"what": "events lost, told out of order, or heard twice", "count": 0}])


def _stormed(seconds: str) -> tuple[str, int]:
    """Return what the storm's own process prints, and its exit code; if this one is to stop, it ends first."""
    command = [sys.executable, "-m", "benchmarks.storm", seconds]
    env = without_servers(os.environ)
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            printed, _ = process.communicate()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    return printed, process.returncode


def without_servers(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that names no server."""
    return {name: value for name, value in environ.items() if name not in SERVERS}
