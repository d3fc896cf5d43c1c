"""What is known of an account in plain Python: statements and balances of the past, by both times."""

from __future__ import annotations

from collections import defaultdict

from tests.ledger.model.books import Books
from tests.ledger.model.boxes import Box, Line

Mark = int | None


class Looks(Books):
    """A moment is the index of a mark, None for the present (or for the beginning of an account)."""

    def statement(self, path: str, since: Mark, until: Mark) -> tuple[int, list[tuple[str, int]], int] | str:
        """Return the opening balance, the lines with what they add to it, and the closing balance."""
        box = self.boxes[path]
        begin = box.born - 1 if since is None else since
        if until is not None and begin >= until:
            return "statement_range_empty"
        before = 0 if since is None else self._count(path, since)
        lines = [line for line in box.lines[before : self._count(path, until)] if line.layer == "posted"]
        opening = _booked(box, box.lines[:before])
        return opening, [(line.label, box.sign * line.amount) for line in lines], opening + _booked(box, lines)

    def balance(self, path: str, at: Mark, effective: int | None) -> tuple[int, int, int]:
        """Return what was known at a moment of how it stood in an hour: posted, held, and how many lines were known."""
        box = self.boxes[path]
        known = box.lines[: self._count(path, at)]
        took_effect = [line for line in known if effective is None or line.effective <= effective]
        seen = Box(box.kind, box.currency, lines=took_effect)
        return seen.balance, seen.leaving, len(known)

    def trial_balance(self, at: Mark) -> dict[tuple[str, str], tuple[int, int]]:
        """Return the sums of the balances that were debits, and of those that were credits, by currency and kind."""
        sums = defaultdict[tuple[str, str], list[int]](lambda: [0, 0])
        for path, box in self.boxes.items():
            known = box.lines[: self._count(path, at)]
            debits = sum(line.amount for line in known if line.layer == "posted")
            sums[box.currency, box.kind][debits < 0] += abs(debits)
        return {which: (debits, credits_) for which, (debits, credits_) in sums.items() if debits or credits_}

    def _count(self, path: str, at: Mark) -> int:
        return len(self.boxes[path].lines) if at is None else self.marks[at].get(path, 0)


def _booked(box: Box, lines: list[Line]) -> int:
    return box.sign * sum(line.amount for line in lines if line.layer == "posted")
