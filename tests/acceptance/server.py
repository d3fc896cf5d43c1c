"""The processes of the service on the test database."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Self

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 30
END_WITHIN_S = 30


class Process:
    """`with` starts the process in a group of its own, waits until it is ready, and kills the group at the end.

    What it prints goes to `log`, if that is given.
    """

    def __init__(self, arguments: str, *, log: Path | None, environment: dict[str, str]) -> None:
        self.arguments, self.log = arguments, log
        self.environment = os.environ | environment
        self.process: subprocess.Popen[bytes] | None = None

    def is_ready(self) -> bool:
        raise NotImplementedError

    def launch(self) -> subprocess.Popen[bytes]:
        with ExitStack() as opened:
            output = opened.enter_context(self.log.open("ab")) if self.log else None
            self.process = subprocess.Popen(
                [sys.executable, *self.arguments.split()],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self.process

    def wait(self) -> None:
        """Return when it is ready."""
        assert self.process is not None
        deadline = time.monotonic() + READY_WITHIN_S
        while not self.is_ready():
            if (code := self.process.poll()) is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self.arguments} does not become ready: exit code {code}")
            time.sleep(0.05)

    def start(self) -> None:
        self.launch()
        self.wait()

    def kill(self) -> None:
        """End every process of it at once, as a power cut would."""
        self._end(signal.SIGKILL, END_WITHIN_S)

    def stop(self, *, within_s: float) -> int:
        """Tell every process of it to stop, as a service manager does, and return the exit code."""
        return self._end(signal.SIGTERM, within_s)

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to every process of it."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _end(self, number: signal.Signals, within_s: float) -> int:
        if self.process is None:
            return 0
        with suppress(ProcessLookupError):
            self.tell(number)
        code = self.process.wait(timeout=within_s)
        self.process = None
        return code


class Server(Process):
    """The web server, on a port of its own."""

    def __init__(self, *, workers: int = 1, log: Path | None = None, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}"
        options = f"--host 127.0.0.1 --port {self.port} --workers {workers} --blocking-threads 16"
        super().__init__(f"-m config.web {options}", log=log, environment={"LOG_LEVEL": "WARNING"} | environment)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base_url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


class Logged(Process):
    """A process that says in its log that it is ready."""

    ARGUMENTS: ClassVar[str]
    READY: ClassVar[str]

    def __init__(self, log: Path, **environment: str) -> None:
        super().__init__(self.ARGUMENTS, log=log, environment={"LOG_LEVEL": "INFO"} | environment)

    def is_ready(self) -> bool:
        return self.READY in self.said()

    def said(self) -> str:
        assert self.log is not None
        return self.log.read_text()


class Worker(Logged):
    ARGUMENTS, READY = "-m config.worker", "ready for action"


class Schedule(Logged):
    """The schedule, which is ready when it leads."""

    ARGUMENTS, READY = "manage.py run_schedule", "schedule.leader"


class Relay(Logged):
    """The relay, without the schedule."""

    ARGUMENTS, READY = "manage.py relay_events --without-schedule", "relay.ready"


class Consumer(Logged):
    ARGUMENTS, READY = "manage.py consume_transactions", "consumer.ready"


@contextmanager
def running(*processes: Process) -> Iterator[None]:
    """Start processes together, and kill them at the end."""
    try:
        for process in processes:
            process.launch()
        for process in processes:
            process.wait()
        yield
    finally:
        for process in processes:
            process.kill()
