"""The service's processes as `dev.py up` starts them, the web for our application or for the empty view."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import NamedTuple

from benchmarks.harness import ROOT
from benchmarks.procs import running, wait_until
from config.localstack.ports import HOST, free_port
from config.localstack.up import PROCESSES

READY_WITHIN_S = 60


class Web(NamedTuple):
    """A server that answers: where, and the root of its processes."""

    url: str
    pid: int


class Service(NamedTuple):
    """Web, worker and relay: where they answer, and the root of the processes of each."""

    url: str
    pids: dict[str, int]


@contextmanager
def web(name: str, *, env: Mapping[str, str], ready: str, scratch: Path) -> Iterator[Web]:
    """Start the web server; it is up when `ready` answers 200. Its log goes to a file."""
    port = free_port(0)
    with process("web", name, env=env, scratch=scratch, port=port) as started:
        wait_until(
            lambda: started.poll() is not None or answers(port, ready),
            timeout_s=READY_WITHIN_S,
            what=f"the server of {name} answers",
        )
        if started.poll() is not None:
            log = scratch / f"{name}-web.log"
            raise RuntimeError(f"The server ended:\n{log.read_text(errors='replace')[-3000:]}")
        yield Web(f"http://{HOST}:{port}", started.pid)


@contextmanager
def service(name: str, *, env: Mapping[str, str], scratch: Path) -> Iterator[Service]:
    """Start all of the service; it is up when the web is ready."""
    with ExitStack() as stack:
        others = {
            role: stack.enter_context(process(role, name, env=env, scratch=scratch))
            for role in PROCESSES
            if role != "web"
        }
        server = stack.enter_context(web(name, env=env, ready="/readyz", scratch=scratch))
        yield Service(server.url, {"web": server.pid, **{role: one.pid for role, one in others.items()}})


@contextmanager
def process(role: str, name: str, *, env: Mapping[str, str], scratch: Path, port: int = 0) -> Iterator[Popen[bytes]]:
    """Start one process of the service."""
    metrics = scratch / f"{name}-metrics" / role
    metrics.mkdir(parents=True, exist_ok=True)
    arguments = [sys.executable, *(word.format(host=HOST, port=port) for word in PROCESSES[role].split())]
    own = {"PROMETHEUS_MULTIPROC_DIR": str(metrics), "PYTHONUNBUFFERED": "1"}
    with running(arguments, env={**env, **own}, cwd=ROOT, log=scratch / f"{name}-{role}.log") as started:
        yield started


def answers(port: int, path: str) -> bool:
    """Tell whether a GET there is answered with 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
