"""Processes: start them, find the servers', and read the CPU time of whole trees of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import redis

from benchmarks.harness import ROOT

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cpu_s(root: int | None) -> float | None:
    """Return the CPU seconds of a process, its living descendants and the dead ones they have waited for.

    None where the process is not known or the system has no /proc (macOS).
    """
    if root is None or not PROC.joinpath("self/stat").exists():
        return None
    # utime, stime, and those of waited-for children
    return sum(sum(map(int, fields[11:15])) for _, fields in _tree(root)) / TICKS_PER_S


def own_mb(root: int | None) -> float | None:
    """Return the memory that a process and its living descendants share with nobody, in MB; None as for `cpu_s`."""
    if root is None or not PROC.joinpath("self/stat").exists():
        return None
    pages = 0
    for process, _ in _tree(root):
        with suppress(FileNotFoundError, ProcessLookupError):
            _, resident, shared, *_ = map(int, (PROC / str(process) / "statm").read_text().split())
            pages += resident - shared
    return pages * PAGE_BYTES / 1e6


def children(parent: int) -> list[int]:
    """Return the living children of a process."""
    return [process for process, fields in _stats() if int(fields[1]) == parent and fields[0] != "Z"]


def _tree(root: int) -> Iterator[tuple[int, list[str]]]:
    """Yield a process and its descendants, with what /proc says of each from the third field of `stat` on."""
    children: dict[int, list[int]] = defaultdict(list)
    known = dict(_stats())
    for process, fields in known.items():
        children[int(fields[1])].append(process)
    todo = [root]
    while todo:
        process = todo.pop()
        if process in known:
            yield process, known[process]
        todo += children[process]


def per_item_ms(before: float | None, after: float | None, items: int) -> float | None:
    """Return the CPU milliseconds of each item between two readings of `cpu_s`."""
    return None if before is None or after is None else (after - before) / items * 1000


def _stats() -> Iterator[tuple[int, list[str]]]:
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                # The name in parentheses may hold anything, blanks and parentheses too.
                yield int(folder.name), (folder / "stat").read_text().rpartition(")")[2].split()


def postgres_pid(database_url: str) -> int | None:
    """Return the process of the PostgreSQL server, or None when it runs on another machine."""
    with psycopg.connect(database_url) as connection:
        if not _is_local(connection.info.host):
            return None
        backend = PROC / str(connection.info.backend_pid) / "stat"
        return int(backend.read_text().rpartition(")")[2].split()[1]) if backend.exists() else None


def redis_pid(redis_url: str) -> int | None:
    """Return the process of the Redis or Valkey server, or None when it runs on another machine."""
    with redis.Redis.from_url(redis_url) as client:
        host = client.connection_pool.connection_kwargs.get("host", "localhost")
        return int(client.info("server")["process_id"]) if _is_local(host) else None


def _is_local(host: str) -> bool:
    return host in {"127.0.0.1", "::1", "localhost"} or host.startswith("/")


def finished(arguments: Sequence[str], *, env: Mapping[str, str]) -> str:
    """Run one of our modules or commands to its end and return what it prints.

    Raises:
        RuntimeError: it failed; the message ends with its output.
    """
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


@contextmanager
def running(
    arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in a session of its own; at the end it and its workers are stopped.

    What it prints goes to `log`.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            arguments,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(condition: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    """Return as soon as `condition()` holds.

    Raises:
        TimeoutError: it does not hold in time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} within {timeout_s:.0f} s")
        time.sleep(0.05)
