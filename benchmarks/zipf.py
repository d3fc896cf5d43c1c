"""Who asks: few do often and many rarely, the one of rank k for each k-th request of the first (Zipf, exponent 1)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

DRAWN_AT_ONCE = 1_000


def users(source: random.Random, count: int) -> Iterator[int]:
    """Yield numbers from 0 up to `count`; which rank a number has, every process agrees on."""
    ranked = list(range(count))
    random.Random(count).shuffle(ranked)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, count + 1)))
    while True:
        yield from source.choices(ranked, cum_weights=weights, k=DRAWN_AT_ONCE)
