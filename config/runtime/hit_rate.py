"""How often a cache had the answer, lately."""

from __future__ import annotations

import threading
from collections import deque

RATED = 1_000


class HitRate:
    """The share of the last 1,000 look-ups that were hits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: deque[bool] = deque(maxlen=RATED)
        self._hits = 0

    def count(self, *, is_hit: bool) -> float:
        """Count a look-up; return the share, from 0 to 1."""
        with self._lock:
            leaving = self._recent[0] if len(self._recent) == RATED else False
            self._recent.append(is_hit)
            self._hits += is_hit - leaving
            return self._hits / len(self._recent)
