"""What this process knows of statuses: for a second, or for minutes where nothing moves them any more."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from ledger.status.shape import Key, Seen, StatusShape

AGE_MAX_S = 1.0


class _Entry(NamedTuple):
    seen: Seen
    learnt_at: float


class Memory:
    """Statuses that were true a moment ago, at most `size_max`; of each transaction the highest version known.

    A status that may still move is shown for `interval_s` and leaves a second after it was learnt; a final one stays
    for `ttl_s`. The oldest leave first. Reading takes no lock.
    """

    def __init__(self, *, size_max: int, interval_s: float, ttl_s: float) -> None:
        self._size_max, self._interval_s, self._ttl_s = size_max, interval_s, ttl_s
        self.begin_process()

    def __len__(self) -> int:
        return len(self._moving) + len(self._final)

    def get(self, key: Key) -> StatusShape | None:
        """Return what may be shown without looking further, if anything is."""
        entry, now = self._find(key), time.monotonic()
        if entry is None:
            return None
        shape = entry.seen.shape
        if shape.is_final:
            return shape if now - entry.learnt_at < self._ttl_s else None
        return shape if now - entry.seen.since < self._interval_s else None

    def learn(self, key: Key, seen: Seen) -> StatusShape | None:
        """Remember a status; return what may be shown after it.

        That is the highest version known, if it was true in the last second; if not, None: what was found is older
        than what has been shown, or may be. Who looks again in the database finds no older one.
        """
        with self._lock:
            now = time.monotonic()
            self._forget(now)
            shown = self._learn(key, seen, now)
        return shown.shape if shown and (shown.shape.is_final or now - shown.since <= AGE_MAX_S) else None

    def learn_all(self, found: Iterable[tuple[Key, Seen]]) -> None:
        """Remember the statuses of a round."""
        with self._lock:
            now = time.monotonic()
            self._forget(now)
            for key, seen in found:
                self._learn(key, seen, now)

    def begin_process(self) -> None:
        """Know nothing."""
        self._lock = threading.Lock()
        self._moving: OrderedDict[Key, _Entry] = OrderedDict()
        self._final: OrderedDict[Key, _Entry] = OrderedDict()
        # When the latest was learnt of those that have left: somebody who has looked since before that may have found
        # a lower version than was shown.
        self._forgotten_at = float("-inf")

    def _learn(self, key: Key, seen: Seen, now: float) -> Seen | None:
        entry = self._find(key)
        if entry is None and seen.since <= self._forgotten_at and not seen.shape.is_final:
            return None
        if entry is None or _is_newer(seen, entry.seen):
            entry = _Entry(seen, now)
            self._put(key, entry)
        return entry.seen

    def _find(self, key: Key) -> _Entry | None:
        return self._final.get(key) or self._moving.get(key)

    def _put(self, key: Key, entry: _Entry) -> None:
        """Put it last, so that the order is that of learning."""
        shelf = self._final if entry.seen.shape.is_final else self._moving
        shelf[key] = entry
        shelf.move_to_end(key)
        if shelf is self._final:
            self._moving.pop(key, None)
        while len(self) > self._size_max:
            self._drop_first(min(filter(None, (self._moving, self._final)), key=_oldest_learnt_at))

    def _forget(self, now: float) -> None:
        """Let those leave whose time has passed."""
        for shelf, lasting_s in ((self._moving, AGE_MAX_S), (self._final, self._ttl_s)):
            while shelf and _oldest_learnt_at(shelf) <= now - lasting_s:
                self._drop_first(shelf)

    def _drop_first(self, shelf: OrderedDict[Key, _Entry]) -> None:
        _, entry = shelf.popitem(last=False)
        self._forgotten_at = max(self._forgotten_at, entry.learnt_at)


def _oldest_learnt_at(shelf: OrderedDict[Key, _Entry]) -> float:
    return next(iter(shelf.values())).learnt_at


def _is_newer(seen: Seen, known: Seen) -> bool:
    if seen.shape.version == known.shape.version:
        return seen.since > known.since
    return seen.shape.version > known.shape.version
