"""Statuses on their way to Redis: whoever has one hands it over and goes on, and they are written in batches."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from config.runtime.nudge import Nudge
from ledger.status.shape import Key, Seen

EVERY_S = 0.05
SIZE_MAX = 100  # Redis serves nobody else meanwhile: a third of a millisecond
PENDING_MAX = 10_000


class Writer:
    """Calls `write` in a thread of its own, for at most 100 at once, of each transaction the highest version.

    When more than 10,000 wait the oldest are dropped: Redis is only a cache.
    """

    def __init__(self, write: Callable[[Sequence[tuple[Key, Seen]]], None]) -> None:
        self._write = write
        self._wake = Nudge("statuses", self.flush, every_s=EVERY_S)
        self.begin_process()

    def put(self, batch: Iterable[tuple[Key, Seen]]) -> None:
        """Have statuses written soon."""
        with self._lock:
            for key, seen in batch:
                waiting = self._pending.pop(key, None)
                is_lower = waiting is not None and waiting.shape.version > seen.shape.version
                self._pending[key] = waiting if waiting is not None and is_lower else seen
            while len(self._pending) > PENDING_MAX:
                self._pending.popitem(last=False)
        self._wake()

    def flush(self) -> None:
        """Write what waits; at the return, what another thread was at is written too."""
        with self._writing:
            while batch := self._next():
                self._write(batch)

    def begin_process(self) -> None:
        """Have nothing to write."""
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._pending: OrderedDict[Key, Seen] = OrderedDict()

    def _next(self) -> list[tuple[Key, Seen]]:
        with self._lock:
            return [self._pending.popitem(last=False) for _ in range(min(SIZE_MAX, len(self._pending)))]
