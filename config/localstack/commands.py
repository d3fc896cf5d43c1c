"""`test`, `bench` and `manage`: commands that need the servers only as long as they run."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from config.localstack import foreground
from config.localstack.errors import StackError
from config.localstack.locks import FileLock
from config.localstack.stack import PROFILES, ROOT, Stack, environment

LOCAL = ROOT / ".local"
_READY_WITHIN_S = 90
_COVERED = ROOT / ".coverage"  # a file of each process that ran tests
_COVERED_AT_LEAST = "90"
_SOME_FAILED = 1  # pytest's exit code


def test(arguments: Sequence[str]) -> int:
    """Run pytest and return its exit code.

    Without arguments run all tests, three files at a time, and return also 2 when too little of the code is covered.
    What fails beside others is asked once more, alone: a busy machine keeps no times.
    """
    stack = Stack(LOCAL / "test", PROFILES["test"])
    stack.claim("dev.py test")
    with stack.running():
        if arguments:
            return _python(stack, "test", "-m", "pytest", *arguments)
        shutil.rmtree(_COVERED, ignore_errors=True)
        code = _python(stack, "test", "-m", "pytest", "-n", "3", "-p", "tests.covered")
        if code == _SOME_FAILED:
            code = _python(stack, "test", "-m", "pytest", "--last-failed")
        return code or _python(stack, *_report())


def _report() -> list[str]:
    """Return the command that tells what the tests have reached."""
    files = sorted(map(str, _COVERED.glob("*.json")))
    merged = str(_COVERED / "all.json")
    return [
        "test",
        "-m",
        "slipcover",
        "--skip-covered",
        "--fail-under",
        _COVERED_AT_LEAST,
        "--out",
        merged,
        "--merge",
        *files,
    ]


def bench(names: Sequence[str]) -> int:
    """Run the benchmarks on migrated servers that sync to disk and return their exit code."""
    stack = Stack(LOCAL / "bench", PROFILES["bench"])
    stack.claim("dev.py bench")
    with stack.running():
        code = _python(stack, "command", "manage.py", "migrate", "--verbosity", "0")
        return code or _python(stack, "bench", "-m", "benchmarks", *names)


def manage(arguments: Sequence[str]) -> int:
    """Run manage.py and return its exit code, on the servers that run for `up`, else on servers started for it.

    Raises:
        StackError: who has the stack does not get it ready, or a server does not start.
    """
    stack = Stack(LOCAL / "up", PROFILES["up"])
    users = FileLock(stack.directory / "users")
    deadline = time.monotonic() + _READY_WITHIN_S
    while not stack.try_claim("dev.py manage"):
        if _join(stack, users):
            _become_manage(stack, users, arguments)
        if time.monotonic() > deadline:
            raise StackError(f"The stack does not become ready; it is in use ({stack.claimed_by()}).")
        time.sleep(0.1)
    with stack.running():
        code = _python(stack, "command", "manage.py", *arguments)
        stack.close_to_others()
        if not users.acquire():
            print("Waiting for another command that uses these servers.", file=sys.stderr)
            users.acquire(wait=True)
        return code


def _join(stack: Stack, users: FileLock) -> bool:
    """Become a user of the running servers; who started them for a command of its own then waits for us."""
    users.acquire(shared=True, wait=True)
    if stack.is_ready():
        return True
    users.release()
    return False


def _become_manage(stack: Stack, users: FileLock, arguments: Sequence[str]) -> NoReturn:
    """Go on as manage.py, so that terminal, signals and exit code are its own."""
    env = environment(stack.directory, "command", os.environ)
    users.keep_after_exec()
    os.chdir(ROOT)
    os.execve(sys.executable, [sys.executable, "manage.py", *arguments], env)  # noqa: S606  (no shell is wanted)


def _python(stack: Stack, role: str, *arguments: str) -> int:
    env = environment(stack.directory, role, os.environ)
    return foreground.run([sys.executable, *arguments], cwd=ROOT, env=env)
