"""A nudge: work is done soon after it was asked for, seldom, and at nobody's expense."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from config.localstack.processes import wait_until
from config.runtime.nudge import Nudge

EVERY_S = 0.05


class Work:
    """Counts its runs; waits for `gate` within each, and fails those whose number is in `failing`."""

    def __init__(self, *failing: int) -> None:
        self.runs: list[float] = []
        self.failing = failing
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> None:
        self.runs.append(time.monotonic())
        assert self.gate.wait(5)
        if len(self.runs) in self.failing:
            raise RuntimeError("no broker")

    def has_run(self, times: int) -> bool:
        return wait_until(lambda: len(self.runs) >= times, timeout_s=5, every_s=0.001)


def quiet() -> None:
    time.sleep(4 * EVERY_S)


def test_what_is_asked_for_once_is_done_once() -> None:
    work = Work()
    Nudge("test", work, every_s=EVERY_S)()
    assert work.has_run(1)
    quiet()
    assert len(work.runs) == 1


def test_nothing_is_done_and_no_thread_begun_before_it_is_asked_for() -> None:
    work = Work()
    nudge = Nudge("idle", work, every_s=EVERY_S)
    quiet()
    assert (work.runs, nudge._thread) == ([], None)


def test_many_who_ask_at_once_are_served_together() -> None:
    work = Work()
    nudge = Nudge("test", work, every_s=EVERY_S)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: nudge(), range(2000)))
    quiet()
    assert 1 <= len(work.runs) <= 5
    assert sum(thread.name == "nudge-test" and thread is nudge._thread for thread in threading.enumerate()) == 1


def test_it_is_done_no_more_often_than_is_allowed() -> None:
    work = Work()
    nudge = Nudge("test", work, every_s=EVERY_S)
    until = time.monotonic() + 8 * EVERY_S
    while time.monotonic() < until:
        nudge()
        time.sleep(0.0005)
    pauses = [later - earlier for earlier, later in zip(work.runs, work.runs[1:], strict=False)]
    assert len(pauses) >= 2
    assert min(pauses) >= EVERY_S


def test_who_asks_while_it_is_being_done_has_it_done_once_more() -> None:
    """What was added after the work had looked would else be seen by nobody."""
    work = Work()
    work.gate.clear()
    nudge = Nudge("test", work, every_s=EVERY_S)
    nudge()
    assert work.has_run(1)
    for _ in range(10):
        nudge()
    work.gate.set()
    assert work.has_run(2)
    quiet()
    assert len(work.runs) == 2


def test_who_asks_does_not_wait_for_the_work() -> None:
    work = Work()
    work.gate.clear()
    nudge = Nudge("test", work, every_s=EVERY_S)
    begun = time.monotonic()
    for _ in range(1000):
        nudge()
    took_s = time.monotonic() - begun
    work.gate.set()
    assert took_s < 0.5
    assert work.has_run(1)


def test_work_that_fails_is_logged_and_done_again_when_it_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    work = Work(1, 2)
    nudge = Nudge("clumsy", work, every_s=EVERY_S)
    for times in (1, 2, 3):
        nudge()
        assert work.has_run(times)
    written = "".join(capfd.readouterr())
    assert written.count('"nudge.failed"') == 2
    assert '"nudge":"clumsy"' in written


def test_a_child_process_begins_its_own_thread() -> None:
    """Its parent's does not run there, and what its parent's callers asked for is not the child's to do."""
    work = Work()
    work.gate.clear()
    nudge = Nudge("test", work, every_s=EVERY_S)
    nudge()
    assert work.has_run(1)
    nudge()
    child = os.fork()
    if child == 0:  # pragma: no cover  (another process)
        begun_anew = nudge._thread is None and not nudge._asked.is_set()
        work.gate.set()
        nudge()
        os._exit(0 if begun_anew and work.has_run(2) else 1)
    work.gate.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
