"""How far a partition is done, when its messages are done in any order."""

from __future__ import annotations

from collections import deque


class Progress:
    """The messages of one partition from its assignment to us until it is taken away."""

    def __init__(self) -> None:
        self.taken = 0
        """How many messages were given out."""
        self._offsets: deque[int] = deque()
        self._done: set[int] = set()

    def take(self, offset: int) -> None:
        """Note a message that was given out; they come in ascending order, and may have gaps."""
        self._offsets.append(offset)
        self.taken += 1

    def finish(self, offset: int) -> int | None:
        """Note a message as done; return where to go on after a restart, if that has moved."""
        self._done.add(offset)
        last = None
        while self._offsets and self._offsets[0] in self._done:
            last = self._offsets.popleft()
            self._done.remove(last)
        return None if last is None else last + 1
