"""Which line of a bank's statement is which entry of our account: one to one, and nothing guessed.

What a line names decides first: a receipt, then a reference, then what it was imported as. What is left is matched by
amount and date. Among lines and entries that are alike in all this dates decide: as many pairs as can be, in their
order, with the fewest days between. Where several such pairings are as good, nothing is paired.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from operator import attrgetter

from ledger.domain.alignment import Aligned, Movement, Pairs, align, clusters, day_of, days_between

_NAMES = ("receipt", "reference", "imported_as")
_amount = attrgetter("amount_minor")
_number = attrgetter("number")
_by_date = attrgetter("on", "number")


class Verdict(StrEnum):
    """What became of a line, an entry, or both; all but `matched` are breaks."""

    MATCHED = "matched"
    AMOUNT_DIFFERS = "amount_differs"
    DATE_OUTSIDE_WINDOW = "date_outside_window"
    DUPLICATE = "duplicate"
    AMBIGUOUS = "ambiguous"
    MISSING_IN_BOOKS = "missing_in_books"
    MISSING_AT_BANK = "missing_at_bank"


_PLACES = {verdict: place for place, verdict in enumerate(Verdict)}


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a line, an entry, or a pair.

    `group` joins the ambiguous ones that may belong together; `repeats` is the number of the line or entry that a
    duplicate repeats.
    """

    verdict: Verdict
    line: Movement | None = None
    entry: Movement | None = None
    group: int | None = None
    repeats: int | None = None


def match(
    lines: Sequence[Movement],
    entries: Sequence[Movement],
    *,
    window_days: int,
    is_due: Callable[[Movement], bool],
) -> list[Finding]:
    """Return what became of every line and of every entry, each in exactly one finding, whatever their order.

    `is_due` tells of an entry whether the statement has to show it; one that it need not show is left out unless it
    belongs to a line. The dates of a match are at most `window_days` apart.
    """
    work = _Work(lines, entries, window_days, is_due)
    work.drop_repeated_lines()
    for name in _NAMES:
        for group in _both_sides(work.lines.values(), work.entries.values(), attrgetter(name)):
            work.match_named(*group, same_receipt=name == "receipt")
    for group in _both_sides(work.lines.values(), work.entries.values(), _amount):
        work.settle(Verdict.MATCHED, align(*group, window_days))
    work.close()
    return sorted(work.findings, key=_order)


class _Work:
    """The lines and entries that are still open, and what was found of the others."""

    def __init__(
        self,
        lines: Iterable[Movement],
        entries: Iterable[Movement],
        window_days: int,
        is_due: Callable[[Movement], bool],
    ) -> None:
        self.lines = {line.number: line for line in sorted(lines, key=_number)}
        self.entries = {entry.number: entry for entry in sorted(entries, key=_number)}
        self.window_days = window_days
        self.is_due = is_due
        self.findings: list[Finding] = []
        self._groups = 0

    def drop_repeated_lines(self) -> None:
        """Of lines with the same mark, the first is the line."""
        first: dict[Hashable, int] = {}
        for line in list(self.lines.values()):
            if line.mark is not None and first.setdefault(line.mark, line.number) != line.number:
                self._find(Finding(Verdict.DUPLICATE, line=line, repeats=first[line.mark]))

    def match_named(self, lines: list[Movement], entries: list[Movement], *, same_receipt: bool) -> None:
        """Match lines and entries that name the same thing: an amount or date that differs is then a break of a pair.

        References come again, every month perhaps: only within the window do two with another amount belong together.
        """
        for some_lines, some_entries in _both_sides(lines, entries, _amount):
            aligned = _first_of_equals(align(some_lines, some_entries, self.window_days))
            self.settle(Verdict.MATCHED, aligned)
            self._find_duplicates(some_lines, some_entries, aligned.pairs)
        lines, entries = self._open(lines, entries)
        for group in _both_sides(lines, entries, _amount):
            self.settle(Verdict.DATE_OUTSIDE_WINDOW, _first_of_equals(align(*group, None)))
        lines, entries = self._open(lines, entries)
        for some_lines, some_entries in clusters(lines, entries, None if same_receipt else self.window_days):
            if len(some_lines) == len(some_entries) == 1:
                self._find(Finding(Verdict.AMOUNT_DIFFERS, line=some_lines[0], entry=some_entries[0]))
            else:
                self._find_ambiguous(some_lines, some_entries)

    def settle(self, verdict: Verdict, aligned: Aligned) -> None:
        """Note pairs, and as ambiguous what has no one pairing."""
        for line, entry in aligned.pairs:
            self._find(Finding(verdict, line=line, entry=entry))
        for lines, entries in aligned.undecided:
            self._find_ambiguous(lines, entries)

    def close(self) -> None:
        """Nothing belongs to what is still open."""
        for line in list(self.lines.values()):
            self._find(Finding(Verdict.MISSING_IN_BOOKS, line=line))
        for entry in filter(self.is_due, list(self.entries.values())):
            self._find(Finding(Verdict.MISSING_AT_BANK, entry=entry))

    def _find_duplicates(self, lines: list[Movement], entries: list[Movement], pairs: Pairs) -> None:
        """What is open and of the same name and amount, in the window of one that is matched, is that one once more."""
        lines, entries = self._open(lines, entries)
        for line, repeats in _twins(lines, [paired for paired, _ in pairs], self.window_days):
            self._find(Finding(Verdict.DUPLICATE, line=line, repeats=repeats))
        due = [entry for entry in entries if self.is_due(entry)]
        for entry, repeats in _twins(due, [paired for _, paired in pairs], self.window_days):
            self._find(Finding(Verdict.DUPLICATE, entry=entry, repeats=repeats))

    def _find_ambiguous(self, lines: list[Movement], entries: list[Movement]) -> None:
        self._groups += 1
        for line in lines:
            self._find(Finding(Verdict.AMBIGUOUS, line=line, group=self._groups))
        for entry in entries:
            self._find(Finding(Verdict.AMBIGUOUS, entry=entry, group=self._groups))

    def _find(self, finding: Finding) -> None:
        if finding.line is not None:
            del self.lines[finding.line.number]
        if finding.entry is not None:
            del self.entries[finding.entry.number]
        self.findings.append(finding)

    def _open(self, lines: list[Movement], entries: list[Movement]) -> tuple[list[Movement], list[Movement]]:
        return (
            [line for line in lines if line.number in self.lines],
            [entry for entry in entries if entry.number in self.entries],
        )


def _first_of_equals(aligned: Aligned) -> Aligned:
    """Pair one that has several equal partners with the nearest, the first of these: they are known to be the same."""
    settled = Aligned(list(aligned.pairs))
    for lines, entries in aligned.undecided:
        if len(lines) == 1 or len(entries) == 1:
            settled.pairs.append(min(product(lines, entries), key=_distance))
        else:
            settled.undecided.append((lines, entries))
    return settled


def _twins(some: list[Movement], paired: list[Movement], window_days: int) -> Iterator[tuple[Movement, int]]:
    """Yield those of `some` that have a paired one within the window, with the number of the nearest such."""
    ordered = sorted(paired, key=_by_date)
    days = [day_of(one) for one in ordered]
    for one in some:
        place = bisect_left(days, day_of(one))
        nearest = min(ordered[max(place - 1, 0) : place + 1], key=lambda twin: days_between(one, twin), default=None)
        if nearest is not None and days_between(one, nearest) <= window_days:
            yield one, nearest.number


def _both_sides(
    lines: Iterable[Movement], entries: Iterable[Movement], key: Callable[[Movement], Hashable]
) -> list[tuple[list[Movement], list[Movement]]]:
    """Group by a key that is not None; what stands on one side only is left out."""
    groups: dict[Hashable, tuple[list[Movement], list[Movement]]] = defaultdict(lambda: ([], []))
    for side, movements in enumerate((lines, entries)):
        for one in movements:
            groups[key(one)][side].append(one)
    groups.pop(None, None)
    return [group for group in groups.values() if group[0] and group[1]]


def _distance(pair: tuple[Movement, Movement]) -> tuple[int, int, int]:
    line, entry = pair
    return days_between(line, entry), line.number, entry.number


def _order(finding: Finding) -> tuple[int, ...]:
    number = (finding.line.number if finding.line else -1, finding.entry.number if finding.entry else -1)
    return (_PLACES[finding.verdict], finding.group or 0, *number)
