"""A Redis of a test's own, that can be killed and frozen."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from config.localstack.binaries import find_valkey
from config.runtime.redis import GuardedRedis, redis_client

PASSWORD = secrets.token_hex(16)


class Server:
    """`with Server(directory) as server:` starts it and waits until it listens; at the end it is killed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "requirepass": PASSWORD, "save": "", "dir": self.directory}
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self.process = subprocess.Popen([find_valkey().path, *arguments], stdout=subprocess.DEVNULL)
        until(self._listens)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def connected(server: Server) -> Iterator[GuardedRedis]:
    """Give this process's client of the server, and close its connections at the end.

    A thread that still uses one is not told: redis-py takes it badly, and the end of the server will tell it.
    """
    client = redis_client(server.url)
    yield client
    client.connection_pool.disconnect(inuse_connections=False)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
