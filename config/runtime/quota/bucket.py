"""The arithmetic of a quota, in whole numbers: nothing is rounded, whatever the rate."""

from __future__ import annotations

from dataclasses import dataclass

# What a token weighs: at n tokens a minute, a bucket drains by n a microsecond.
TOKEN = 60_000_000


@dataclass(frozen=True, slots=True)
class Quota:
    """`per_minute` requests of cost 1 in the long run, and at most `burst` at once."""

    per_minute: int
    burst: int

    @property
    def size(self) -> int:
        """What a bucket holds."""
        return self.burst * TOKEN


class Bucket:
    """The GCRA as the leaky bucket that it equals (ITU-T I.371, annex A): it fills by what is asked, and drains."""

    __slots__ = ("at_us", "debt")

    def __init__(self, *, at_us: int, debt: int = 0) -> None:
        self.at_us, self.debt = at_us, debt

    def settle(self, quota: Quota, now_us: int) -> None:
        """Let drain what has drained since it was last looked at."""
        self.debt = max(0, self.debt - (now_us - self.at_us) * quota.per_minute)
        self.at_us = now_us

    def take(self, quota: Quota, cost: int, now_us: int) -> bool:
        """Add `cost` tokens if they go in; tell whether they did."""
        self.settle(quota, now_us)
        if self.debt + cost * TOKEN > quota.size:
            return False
        self.debt += cost * TOKEN
        return True
