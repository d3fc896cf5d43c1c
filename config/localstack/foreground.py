"""A command in the foreground: it has the terminal, its signals and its exit code are ours."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from config.localstack.identity import CALLER
from config.localstack.signals import STOP_SIGNALS

_GRACE_S = 10


def run(arguments: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> int:
    """Run a command and return its exit code, 128 + N when signal N ended it.

    SIGINT, SIGTERM and SIGHUP go on to it; one that does not end within 10 s of a SIGTERM is killed.
    """
    process = subprocess.Popen(
        [*CALLER.before(stop_signal=signal.SIGTERM), *arguments],
        cwd=cwd,
        env=env,
    )

    def forward(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGALRM:
            process.kill()
            return
        if number != signal.SIGINT or not _terminal_sends_it():
            process.send_signal(number)
        if number != signal.SIGINT:
            signal.alarm(_GRACE_S)

    before = {number: signal.signal(number, forward) for number in (*STOP_SIGNALS, signal.SIGALRM)}
    try:
        code = process.wait()
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _terminal_sends_it() -> bool:
    """Say whether Ctrl-C reaches the command by itself: the terminal signals its whole foreground group."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
