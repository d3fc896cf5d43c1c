"""Pair movements of two sides that only their dates tell apart: as many as can be, the nearest, and no guess."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

# Pairs to choose from in one run of dates. So many alike are mostly of the same days, where no pair is the only right
# one, and looking for one takes its time.
CANDIDATES_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One movement of an account: a statement's line or an entry. `number` tells it from the others of its side.

    `amount_minor` is above zero when the balance rises. `imported_as` is the idempotency key of an entry, and the one
    that a line would be imported with. Lines with the same `mark` are one line of the bank.
    """

    number: int
    on: date
    amount_minor: int
    receipt: str | None = None
    reference: str | None = None
    imported_as: str | None = None
    mark: Hashable = None


Pairs = list[tuple[Movement, Movement]]


@dataclass(slots=True)
class Aligned:
    """The pairs that are the only right ones, and what could be paired in more than one way, each with its rivals."""

    pairs: Pairs = field(default_factory=list)
    undecided: list[tuple[list[Movement], list[Movement]]] = field(default_factory=list)


def days_between(one: Movement, other: Movement) -> int:
    """Return how far apart two are, whichever came first."""
    return abs((one.on - other.on).days)


def day_of(one: Movement) -> int:
    """Return its day, counted from long ago."""
    return one.on.toordinal()


def align(lines: Sequence[Movement], entries: Sequence[Movement], window_days: int | None) -> Aligned:
    """Pair lines and entries that only their dates tell apart, at most `window_days` from one another.

    The pairs are those that every best pairing has: one that keeps the order of the dates, of as many pairs as can be,
    with the fewest days between them in all. (Order, since the days are as many however two pairs cross.)
    """
    found = Aligned()
    for some_lines, some_entries in clusters(lines, entries, window_days):
        days = [day_of(entry) for entry in some_entries]
        window = date.max.toordinal() if window_days is None else window_days
        windows = [
            range(bisect_left(days, day_of(line) - window), bisect_right(days, day_of(line) + window))
            for line in some_lines
        ]
        if sum(map(len, windows)) > CANDIDATES_MAX:
            found.undecided.append((some_lines, some_entries))
        else:
            _align_cluster(some_lines, some_entries, windows, found)
    return found


def clusters(
    lines: Iterable[Movement], entries: Iterable[Movement], window_days: int | None
) -> Iterator[tuple[list[Movement], list[Movement]]]:
    """Yield the lines and entries that are joined by pairs within the window, by date; what has no partner is left out.

    What stands between the two of a pair is in the window of one of them, so that a cluster is a run of dates.
    """
    rows = [(day_of(line), 0, line.number, line) for line in lines]
    rows += [(day_of(entry), 1, entry.number, entry) for entry in entries]
    rows.sort()
    days = [[row[0] for row in rows if row[1] == side] for side in (0, 1)]
    places = [[place for place, row in enumerate(rows) if row[1] == side] for side in (0, 1)]
    window = date.max.toordinal() if window_days is None else window_days
    begin = reach = 0
    for place, (day, side, _, _) in enumerate(rows):
        if place > reach:
            yield from _cluster(rows[begin:place])
            begin = place
        # The last of the other side that it may be paired with, or one before it, which joined it already.
        partner = bisect_right(days[1 - side], day + window) - 1
        reach = max(reach, place, places[1 - side][partner] if partner >= 0 else 0)
    yield from _cluster(rows[begin:])


def _cluster(rows: list[tuple[int, int, int, Movement]]) -> Iterator[tuple[list[Movement], list[Movement]]]:
    lines, entries = ([row[3] for row in rows if row[1] == side] for side in (0, 1))
    if lines and entries:
        yield lines, entries


def _align_cluster(lines: list[Movement], entries: list[Movement], windows: list[range], found: Aligned) -> None:
    """Pair what every best pairing pairs; `windows` are the entries that each line may be paired with.

    One that keeps the order is made of a best one of the first lines and entries, a pair, and a best one of the last.
    Those of one date have no order: they may change places.
    """
    gains = _gains(lines, entries, windows)
    before, after = _Best(windows, gains), _Best(*_turned(windows, gains, len(entries)))
    best = before.of(len(lines), len(entries))

    def is_best(row: int, column: int, *, pair: int) -> bool:
        """Tell whether the lines before this one, it alone or with this entry, and those after it make a best one."""
        rest = after.of(len(lines) - row - 1, len(entries) - column - (pair > 0))
        return before.of(row, column) + pair + rest == best

    alone = _alone(lines), _alone(entries)
    sure: dict[int, int] = {}
    wanted: dict[int, list[int]] = {}
    for row, window in enumerate(windows):
        chosen = [column for column, gain in zip(window, gains[row], strict=True) if is_best(row, column, pair=gain)]
        # Where a best one leaves the line alone, what comes before and after it can be told apart within its window.
        stays = any(is_best(row, column, pair=0) for column in range(window.start, window.stop + 1))
        if len(chosen) == 1 and not stays and alone[0][row] and alone[1][chosen[0]]:
            sure[row] = chosen[0]
        elif chosen:
            wanted[row] = chosen
    found.pairs += [(lines[row], entries[column]) for row, column in sure.items()]
    if wanted:
        rivals = sorted({column for columns in wanted.values() for column in columns})
        found.undecided.append(([lines[row] for row in wanted], [entries[column] for column in rivals]))


def _gains(lines: list[Movement], entries: list[Movement], windows: list[range]) -> list[list[int]]:
    """Return what each pair of a line is worth: one pair more is worth more than all days that could be saved."""
    days = [
        [days_between(line, entries[column]) for column in window] for line, window in zip(lines, windows, strict=True)
    ]
    pair = max(map(max, days)) * min(len(lines), len(entries)) + 1
    return [[pair - apart for apart in row] for row in days]


class _Best:
    """What the best pairing of the first lines with the first entries is worth, for any number of both."""

    def __init__(self, windows: list[range], gains: list[list[int]]) -> None:
        self._rows = [(0, [0])]
        for row, window in enumerate(windows):
            now = [self.of(row, window.start)]
            for column, gain in zip(window, gains[row], strict=True):
                now.append(max(now[-1], self.of(row, column + 1), self.of(row, column) + gain))
            self._rows.append((window.start, now))

    def of(self, lines: int, entries: int) -> int:
        """Return it for at least as many entries as come before the window of the last of these lines."""
        start, row = self._rows[lines]
        return row[min(entries - start, len(row) - 1)]  # those after its window make no difference


def _turned(windows: list[range], gains: list[list[int]], entries: int) -> tuple[list[range], list[list[int]]]:
    """Return the same with the last line and the last entry first."""
    return (
        [range(entries - window.stop, entries - window.start) for window in reversed(windows)],
        [row[::-1] for row in reversed(gains)],
    )


def _alone(side: list[Movement]) -> list[bool]:
    """Tell of each whether no other has its date."""
    count = Counter(one.on for one in side)
    return [count[one.on] == 1 for one in side]
