"""The web server as `dev.py up` starts it, for our application or for the empty view."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import ROOT
from benchmarks.procs import running, wait_until
from config.localstack.ports import HOST, free_port
from config.localstack.up import WEB

READY_WITHIN_S = 60


class Web(NamedTuple):
    """A server that answers: where, and the root of its processes."""

    url: str
    pid: int


@contextmanager
def web(name: str, *, env: Mapping[str, str], ready: str, scratch: Path) -> Iterator[Web]:
    """Start granian with the settings of `up`; it is up when `ready` answers 200. Its log goes to a file."""
    port = free_port(0)
    metrics = scratch / f"{name}-metrics" / "web"
    metrics.mkdir(parents=True)
    arguments = [sys.executable, *(word.format(host=HOST, port=port) for word in WEB.split())]
    own = {"PROMETHEUS_MULTIPROC_DIR": str(metrics), "PYTHONUNBUFFERED": "1"}
    with running(arguments, env={**env, **own}, cwd=ROOT, log=scratch / f"{name}.log") as process:
        wait_until(
            lambda: process.poll() is not None or _answers(port, ready),
            timeout_s=READY_WITHIN_S,
            what=f"the server of {name} answers",
        )
        if process.poll() is not None:
            raise RuntimeError(f"The server ended:\n{(scratch / f'{name}.log').read_text(errors='replace')[-3000:]}")
        yield Web(f"http://{HOST}:{port}", process.pid)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
