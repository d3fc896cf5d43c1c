"""A broker of the tests' own: real, on loopback, with its data beside it; it can be frozen and killed."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Self

from config.localstack.ports import HOST, free_port
from config.localstack.processes import Child, spawn, wait_until

START_S = 90


class BrokerMissing(Exception):
    """The broker cannot be had on this machine; the words say what to install."""


class Server:
    """`with` starts it and waits until it serves; at the end it is stopped. It does not outlive its caller."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port(0)
        self.log = directory / "log"
        self._children: list[Child] = []

    def start(self) -> None:
        """Start it on the data that it has; return when it serves."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop it, the last that was started first, asked before it is killed."""
        for child in reversed(self._children):
            child.ask_to_stop()
            child.end(timeout_s=20)
        self._children.clear()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        for child in self._children:
            child.end(timeout_s=5)
        self._children.clear()

    def freeze(self) -> None:
        """Let it keep its connections and answer nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def restore(self) -> None:
        """Have it serve again, whatever a test did to it."""
        if self._children:
            self.thaw()
        else:
            self.start()

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children:
            os.killpg(child.process.pid, number)

    def _run(self, name: str, program: list[str | Path], env: dict[str, str]) -> None:
        with self.log.open("ab") as log:
            pid_file = self.directory / f"{name}.pid"
            self._children.append(spawn(program, pid_file=pid_file, cwd=self.directory, output=log, env=env))

    def _wait(self) -> None:
        def ended() -> bool:
            return any(child.exit_code() is not None for child in self._children)

        if not wait_until(lambda: self.serves() or ended(), START_S) or ended():
            self.kill()
            raise AssertionError(f"{type(self).__name__} does not start:\n{self.log.read_text()[-3000:]}")

    def serves(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        self.stop()
