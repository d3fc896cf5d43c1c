"""Watches the posting queue and the memory of the service while it is under load."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Mapping
from typing import Self

import psycopg

from benchmarks.databases import as_owner
from benchmarks.procs import own_mb

EVERY_S = 0.25
EARLY = 0.2


def depth(owner: psycopg.Connection) -> int:
    """Return how many accepted transactions wait."""
    return int(owner.execute("SELECT count(*) FROM ledger_queuedposting").fetchall()[0][0])


class Watch(threading.Thread):
    """Samples the queue until it is left, and the memory of `pids` at a fifth of `seconds` and at the end."""

    def __init__(self, database: str, pids: Mapping[str, int | None], *, seconds: float, depth_max: float) -> None:
        super().__init__(name="watch")
        self.is_too_long = threading.Event()
        self.own_mb: list[dict[str, float | None]] = []
        self._database, self._pids, self._seconds, self._depth_max = database, pids, seconds, depth_max
        self._samples: list[tuple[float, int]] = []
        self._left = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self.join()

    @property
    def depths(self) -> list[int]:
        """Lengths of the queue, ascending."""
        return sorted(length for _, length in self._samples)

    @property
    def growth_per_s(self) -> float:
        """The slope of the line through the lengths after the first fifth of the time."""
        settled = [sample for sample in self._samples if sample[0] >= EARLY * self._samples[-1][0]]
        return statistics.linear_regression(*zip(*settled, strict=True)).slope if len(settled) > 2 else 0.0

    def run(self) -> None:
        begun = time.monotonic()
        with as_owner(self._database) as owner:
            while not self._left.wait(EVERY_S):
                elapsed_s = time.monotonic() - begun
                self._samples.append((elapsed_s, depth(owner)))
                if self._samples[-1][1] > self._depth_max:
                    self.is_too_long.set()
                if not self.own_mb and elapsed_s >= EARLY * self._seconds:
                    self._look_at_memory()
        self._look_at_memory()

    def _look_at_memory(self) -> None:
        self.own_mb.append({name: own_mb(pid) for name, pid in self._pids.items()})
