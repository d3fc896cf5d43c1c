"""Runs the processes of `up` side by side, shows what they print, and ends them together."""

from __future__ import annotations

import os
import selectors
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE

from config.localstack.errors import StackError
from config.localstack.processes import Child, describe, spawn

_COLOURS = {"web": 36, "worker": 33, "relay": 35}
_LINE_BYTES_MAX = 65_536


@dataclass(slots=True)
class _Output:
    """One process's output and the line it has not finished."""

    child: Child
    rest: bytes = b""


class Supervisor:
    """`servers` are watched, but they belong to who started them."""

    def __init__(self, directory: Path, servers: Sequence[Child]) -> None:
        self._directory, self._servers = directory, servers
        self._processes: list[tuple[Child, float]] = []
        self._selector = selectors.DefaultSelector()
        self._is_read = True

    def start(
        self, name: str, arguments: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], grace_s: float
    ) -> None:
        """Start a process; when all is stopped it has `grace_s` seconds to end by itself."""
        child = spawn(arguments, pid_file=self._directory / f"{name}.pid", cwd=cwd, env=env, output=PIPE)
        self._processes.append((child, grace_s))
        self._selector.register(child.output, selectors.EVENT_READ, _Output(child))

    def run_until(self, condition: Callable[[], bool]) -> None:
        """Show the output until the condition holds, which is asked a few times a second.

        Raises:
            StackError: a process or a server ended by itself, or nobody reads the output any more.
        """
        while not condition():
            self._show(wait_s=0.2)
            if not self._is_read:
                raise StackError("Nobody reads the output any more.")
            for child in (*self._servers, *(child for child, _ in self._processes)):
                if (code := child.exit_code()) is not None:
                    self._show_last()
                    raise StackError(f"{child.name} ended by itself ({describe(code)}).")

    def stop(self) -> None:
        """End the processes, all at once."""
        for child, _ in self._processes:
            child.ask_to_stop()
        asked_at = time.monotonic()
        while self._processes:
            child, grace_s = self._processes[-1]
            # Read on meanwhile: a full pipe would keep it from ending.
            while child.exit_code() is None and time.monotonic() < asked_at + grace_s:
                self._show(wait_s=0.05)
            child.end(timeout_s=0)
            self._show_last()
            self._processes.pop()
        for key in tuple(self._selector.get_map().values()):
            key.data.child.output.close()  # its other end is held by a worker that was killed and is not gone yet
        self._selector.close()

    def _show_last(self) -> None:
        """Show what the ended process has left in its pipe: the last piece, and then the end."""
        self._show(wait_s=0)
        self._show(wait_s=0)

    def _show(self, *, wait_s: float) -> None:
        if not self._selector.get_map():
            time.sleep(wait_s)
        for key, _ in self._selector.select(wait_s):
            piece = os.read(key.fd, _LINE_BYTES_MAX)
            if not piece:
                self._selector.unregister(key.fileobj)
                key.data.child.output.close()
            self._print_lines(key.data, piece)

    def _print_lines(self, output: _Output, piece: bytes) -> None:
        *lines, output.rest = (output.rest + piece).split(b"\n")
        if output.rest and (not piece or len(output.rest) > _LINE_BYTES_MAX):
            lines.append(output.rest)
            output.rest = b""
        try:
            for line in lines:
                sys.stdout.buffer.write(_prefix(output.child.name) + line + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # No reason to leave processes behind: what is left to say goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._is_read = False


def _prefix(name: str) -> bytes:
    text = f"{name:>8} |"
    return (f"\x1b[{_COLOURS[name]}m{text}\x1b[0m " if sys.stdout.isatty() else f"{text} ").encode()
