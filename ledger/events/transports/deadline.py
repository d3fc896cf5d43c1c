"""How long a broker may take over a batch before it counts as away."""

from __future__ import annotations

import time

# A restart of a broker, or the election of a new leader, is waited out; whoever waits longer had better say so.
DELIVERY_S = 10.0


class Deadline:
    """A moment from now on which something must be through."""

    def __init__(self, within_s: float) -> None:
        self.within_s = within_s
        self._end = time.monotonic() + within_s

    def left_s(self) -> float:
        """Return the seconds until then, 0 when it has passed."""
        return max(0.0, self._end - time.monotonic())
