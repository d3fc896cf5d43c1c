"""A real web server on the test database."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 30


class Server:
    """`with Server() as server:` starts the web server in a process group of its own and waits until it is ready.

    What it prints goes to `log`, if that is given.
    """

    def __init__(self, *, workers: int = 1, log: Path | None = None, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.environment = os.environ | {"LOG_LEVEL": "WARNING"} | environment
        self.workers, self.log = workers, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        process = self.launch()
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._is_ready():
            if (code := process.poll()) is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"no server on {self.base_url}: exit code {code}")
            time.sleep(0.05)

    def launch(self) -> subprocess.Popen[bytes]:
        options = f"--host 127.0.0.1 --port {self.port} --workers {self.workers} --blocking-threads 16"
        with ExitStack() as opened:
            output = opened.enter_context(self.log.open("ab")) if self.log else None
            self.process = subprocess.Popen(
                [sys.executable, "-m", "config.web", *options.split()],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self.process

    def kill(self) -> None:
        """End every process of it at once, as a power cut would."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        self._signal(signal.SIGTERM)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _signal(self, number: int) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            self.process.wait(timeout=30)
            self.process = None

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base_url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
