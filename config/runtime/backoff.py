"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from datetime import timedelta

BACKOFF_S, BACKOFF_S_MAX = 1.0, 60.0


def backoff(attempts: int) -> timedelta:
    """Return an exponential pause with full jitter below its half: 0.5 to 1 s, 1 to 2 s, 2 to 4 s, … up to a minute."""
    pause_s = min(BACKOFF_S_MAX, BACKOFF_S * 2 ** (attempts - 1))
    return timedelta(seconds=random.uniform(pause_s / 2, pause_s))  # noqa: S311  (jitter)
