"""The benchmark's side of the conversation with a contender (benchmarks/contenders/loop.py)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from benchmarks.contenders.loop import Order
from benchmarks.harness import ROOT


class Contender:
    """A process that measures what it is ordered, one order after the other."""

    def __init__(self, process: subprocess.Popen[str], answers: IO[str], log: Path) -> None:
        self._process, self._answers, self._log = process, answers, log

    def measure(self, order: Order) -> dict[str, Any]:
        """Return the figures of one order.

        Raises:
            RuntimeError: the process ended; the message ends with what it printed.
        """
        try:
            self._orders.write(json.dumps(order) + "\n")
            self._orders.flush()
        except BrokenPipeError:
            answer = ""
        else:
            answer = self._answers.readline()
        if not answer:
            self._process.wait(10)  # it has closed its end before it says why
            raise RuntimeError(f"The contender ended:\n{self._log.read_text(errors='replace')[-3000:]}")
        figures: dict[str, Any] = json.loads(answer)
        return figures

    @property
    def _orders(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin


@contextmanager
def contender(python: Path, module: str, *, env: Mapping[str, str], log: Path) -> Iterator[Contender]:
    """Start a contender; it ends with its orders. What it logs goes to a file, as a service's log would."""
    read, write = os.pipe()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(python), "-m", "benchmarks.started", module, str(write)],
            cwd=ROOT,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=(write,),
            text=True,
        )
    os.close(write)
    try:
        with os.fdopen(read) as answers:
            yield Contender(process, answers, log)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
