"""Child processes that leave nothing behind: not when they hang, not when their supervisor is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from config.localstack.errors import StackError
from config.localstack.identity import CALLER, Identity
from config.localstack.locks import FileLock


@dataclass(frozen=True, slots=True)
class Child:
    """A process with a session of its own, so that it and its workers can be told from everything else."""

    name: str
    process: subprocess.Popen[bytes]
    stop_signal: signal.Signals

    @property
    def output(self) -> IO[bytes]:
        """What it prints, if it was started with PIPE."""
        assert self.process.stdout is not None
        return self.process.stdout

    def exit_code(self) -> int | None:
        return self.process.poll()

    def ask_to_stop(self) -> None:
        self.process.send_signal(self.stop_signal)

    def end(self, timeout_s: float) -> None:
        """Return when the process is gone, killed after `timeout_s`, and its workers with it."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_s)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def spawn(
    arguments: Sequence[str | Path],
    *,
    pid_file: Path,
    cwd: Path,
    output: IO[bytes] | int,
    env: Mapping[str, str] | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
    identity: Identity = CALLER,
) -> Child:
    """Start a process. It holds the lock on `pid_file` as long as it lives, and gets `stop_signal` if we die.

    Raises:
        StackError: a process that an earlier run left behind under the same name does not end.
    """
    end_orphan(pid_file, stop_signal)
    lock = FileLock(pid_file)
    lock.acquire(wait=True)
    try:
        process = subprocess.Popen(
            [*identity.before(stop_signal=stop_signal), *arguments],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(lock.descriptor,),
            start_new_session=True,
        )
        lock.write(str(process.pid))
    finally:
        lock.close()
    return Child(pid_file.stem, process, stop_signal)


def end_orphan(pid_file: Path, stop_signal: signal.Signals, timeout_s: float = 15) -> None:
    """Stop what an earlier, killed supervisor left running: asked first, then killed.

    The lock says whether it lives. A pid alone would not: it may be a zombie's, or another program's by now.
    """
    lock = FileLock(pid_file)
    try:
        for number in (stop_signal, signal.SIGKILL):
            if lock.acquire():
                return
            with suppress(ProcessLookupError, PermissionError, ValueError):
                os.killpg(int(lock.read()), number)
            if wait_until(lock.acquire, timeout_s):
                return
        raise StackError(f"{pid_file.stem} of an earlier run (process {lock.read()}) does not end; stop it yourself.")
    finally:
        lock.close()


def wait_until(condition: Callable[[], bool], timeout_s: float, every_s: float = 0.02) -> bool:
    """Return True as soon as `condition()` holds, False when it does not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def describe(exit_code: int) -> str:
    """Return `exit code 3` or `killed by SIGKILL`."""
    return f"exit code {exit_code}" if exit_code >= 0 else f"killed by {signal.Signals(-exit_code).name}"
