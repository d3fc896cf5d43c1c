"""The GCRA as virtual scheduling (ITU-T I.371, annex A), in fractions: what ours has to agree with."""

from __future__ import annotations

from fractions import Fraction

from config.runtime.quota.bucket import Quota


class Reference:
    """One client; times are in microseconds. A clock that is set back by less than a second stands still."""

    def __init__(self, at: int) -> None:
        self.arrival, self.at = Fraction(at), at

    def would_take(self, quota: Quota, cost: int, at: int, *, stricter: int = 0) -> bool:
        """Tell whether it conforms, also with `stricter` microseconds less of tolerance."""
        if 0 < self.at - at < 1_000_000:
            at = self.at
        self.arrival -= max(0, self.at - at)
        self.at = at
        emission = Fraction(60_000_000, quota.per_minute)
        return max(self.arrival, Fraction(at)) + cost * emission + stricter <= at + quota.burst * emission

    def take(self, quota: Quota, cost: int, at: int) -> bool:
        """Take it if it conforms."""
        if not self.would_take(quota, cost, at):
            return False
        self.arrival = max(self.arrival, Fraction(self.at)) + cost * Fraction(60_000_000, quota.per_minute)
        return True
