"""Slots: which of the shared metric files belong to this process.

Prometheus' client names the files after process ids, so that they multiply with every restart. Here a process takes
the first free slot of its role's directory instead and goes on where the slot's last owner stopped: few files, and
counters that never go back. The lock on `slot-N.lock` says that a slot is taken; the kernel frees it at any death.
"""

from __future__ import annotations

import fcntl
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Slots:
    """The slots of one directory, as one process uses them. After a fork the child takes a slot of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._held: tuple[int, int] | None = None
        os.register_at_fork(after_in_child=self._forget)

    def mine(self) -> int:
        """Return this process's slot, taking one first where it has none."""
        if self._held is None:
            self._held = self._take()
        return self._held[0]

    def _take(self) -> tuple[int, int]:
        with _alone(self.directory):
            for slot in itertools.count():
                lock = os.open(self.directory / f"slot-{slot}.lock", os.O_RDWR | os.O_CREAT, 0o644)
                if _locked(lock):
                    _drop_live_gauges(self.directory, slot)
                    return slot, lock
                os.close(lock)
        raise AssertionError("itertools.count() ends never")

    def _forget(self) -> None:
        # The inherited descriptor would keep the parent's slot taken beyond the parent's death.
        if self._held is not None:
            os.close(self._held[1])
            self._held = None


def drop_dead(directory: Path) -> None:
    """Delete the live gauges of slots that nobody holds: what a dead process said of itself holds no longer."""
    with _alone(directory):
        for path in directory.glob("slot-*.lock"):
            lock = os.open(path, os.O_RDWR)
            try:
                if _locked(lock):
                    _drop_live_gauges(directory, int(path.stem.removeprefix("slot-")))
            finally:
                os.close(lock)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _drop_live_gauges(directory: Path, slot: int) -> None:
    for path in directory.glob(f"gauge_live*_{slot}.db"):
        path.unlink(missing_ok=True)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep takers and droppers apart: a slot that is only probed must not look taken."""
    lock = os.open(directory / "slots.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        # Unlocked by name: a process forked meanwhile holds a copy of the descriptor.
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)
