"""Which line belongs to which entry: what names decide, what dates decide, and what nobody can."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from ledger.domain.alignment import CANDIDATES_MAX, Movement, align
from ledger.domain.matching import Finding, Verdict, match
from tests.ledger.drawn import examples

MARCH = date(2026, 3, 1)


def move(number: int, day: int, amount: int = 1000, **names: Any) -> Movement:
    """Return a movement of a day of March, or before or after it."""
    return Movement(number=number, on=MARCH + timedelta(days=day - 1), amount_minor=amount, **names)


def found(lines: list[Movement], entries: list[Movement], window_days: int = 3) -> list[tuple[Any, ...]]:
    """Return what was found in a statement of March: verdict, numbers of line and entry, group or what it repeats."""
    findings = match(
        lines, entries, window_days=window_days, is_due=lambda one: (one.on.year, one.on.month) == (2026, 3)
    )
    return [
        (
            one.verdict.value,
            one.line and one.line.number,
            one.entry and one.entry.number,
            *([one.group] if one.group else []),
            *([one.repeats] if one.repeats else []),
        )
        for one in findings
    ]


@pytest.mark.parametrize("name", ["receipt", "reference", "imported_as"])
def test_what_a_line_names_beats_amount_and_date(name):
    named: dict[str, Any] = {name: "A"}
    lines = [move(1, 5, **named), move(2, 5)]
    entries = [move(1, 5), move(2, 7, **named)]

    assert found(lines, entries) == [("matched", 1, 2), ("matched", 2, 1)]


def test_a_receipt_beats_a_reference_and_that_what_was_imported():
    lines = [move(1, 5, receipt="R", reference="A", imported_as="bank:1")]
    entries = [move(1, 5, imported_as="bank:1"), move(2, 5, reference="A"), move(3, 8, receipt="R")]

    assert found(lines, entries)[0] == ("matched", 1, 3)
    assert found(lines, entries[:2])[0] == ("matched", 1, 2)


def test_a_named_entry_with_another_amount_is_a_break_even_beside_one_with_the_right_amount():
    lines = [move(1, 5, reference="A")]
    entries = [move(1, 5, 1200, reference="A"), move(2, 5)]

    assert found(lines, entries) == [("amount_differs", 1, 1), ("missing_at_bank", None, 2)]


def test_a_sign_is_part_of_the_amount():
    assert found([move(1, 5, 1000)], [move(1, 5, -1000)]) == [
        ("missing_in_books", 1, None),
        ("missing_at_bank", None, 1),
    ]


@pytest.mark.parametrize(
    ("days", "verdicts"), [(3, ["matched"]), (-3, ["matched"]), (4, ["missing_in_books", "missing_at_bank"])]
)
def test_without_a_name_dates_are_within_the_window(days, verdicts):
    assert [verdict for verdict, *_ in found([move(1, 15)], [move(1, 15 + days)])] == verdicts


@pytest.mark.parametrize("name", ["receipt", "reference"])
def test_with_a_name_a_date_outside_the_window_is_a_break_of_the_pair(name):
    named: dict[str, Any] = {name: "A"}
    for day in (1, 9, -40):
        assert found([move(1, 5, **named)], [move(1, day, **named)]) == [("date_outside_window", 1, 1)]


def test_with_another_amount_a_receipt_belongs_together_at_any_time_and_a_reference_within_the_window():
    assert found([move(1, 5, receipt="R")], [move(1, 25, 7, receipt="R")]) == [("amount_differs", 1, 1)]
    assert found([move(1, 5, reference="rent")], [move(1, 25, 7, reference="rent")]) == [
        ("missing_in_books", 1, None),
        ("missing_at_bank", None, 1),
    ]


def test_a_reference_that_comes_again_is_told_apart_by_dates():
    lines = [move(1, 1, reference="rent"), move(2, 15, reference="rent"), move(3, 29, reference="rent")]
    entries = [move(1, 30, reference="rent"), move(2, 2, reference="rent"), move(3, 16, reference="rent")]

    assert found(lines, entries) == [("matched", 1, 2), ("matched", 2, 3), ("matched", 3, 1)]


def test_a_pairing_of_more_is_better_than_one_of_nearer_dates():
    # The nearest first would pair line 2 with entry 1 and leave the other two alone.
    assert found([move(1, 1), move(2, 2)], [move(1, 2), move(2, 3)], window_days=1) == [
        ("matched", 1, 1),
        ("matched", 2, 2),
    ]


def test_the_nearest_of_two_is_matched_and_the_other_is_missing():
    assert found([move(1, 5)], [move(1, 3), move(2, 6)]) == [("matched", 1, 2), ("missing_at_bank", None, 1)]


def test_what_is_late_by_the_same_days_keeps_its_order():
    assert found([move(1, 1), move(2, 2)], [move(1, 3), move(2, 4)]) == [("matched", 1, 1), ("matched", 2, 2)]


def test_two_that_are_a_day_off_are_no_better_than_one_on_its_day_and_one_two_days_off():
    results = found([move(1, 3), move(2, 4)], [move(1, 1), move(2, 4), move(3, 5)])

    assert Counter(one[0] for one in results) == {"ambiguous": 5}


def test_what_is_equally_near_is_ambiguous_and_not_guessed():
    assert found([move(1, 5)], [move(1, 4), move(2, 6)]) == [
        ("ambiguous", None, 1, 1),
        ("ambiguous", None, 2, 1),
        ("ambiguous", 1, None, 1),
    ]
    # Two of one day on either side: as many as there should be, and still nobody knows which is which.
    assert Counter(one[0] for one in found([move(1, 5), move(2, 5)], [move(1, 5), move(2, 5)])) == {"ambiguous": 4}


def test_groups_that_have_nothing_in_common_have_numbers_of_their_own():
    lines = [move(1, 5), move(2, 25), move(3, 5, 7)]
    entries = [move(1, 5), move(2, 5), move(3, 25), move(4, 25), move(5, 5, 7)]

    results = found(lines, entries)

    assert {(line, group) for verdict, line, _, *group_ in results if verdict == "ambiguous" for group in group_} == {
        (None, 1),
        (1, 1),
        (None, 2),
        (2, 2),
    }
    assert ("matched", 3, 5) in results


def test_the_same_line_twice_is_one_line_and_a_duplicate():
    lines = [move(1, 5, mark="b1"), move(2, 6, mark="b1")]

    assert found(lines, [move(1, 6)]) == [("matched", 1, 1), ("duplicate", 2, None, 1)]


def test_a_name_and_amount_once_more_is_a_duplicate_on_either_side():
    once, twice = [move(1, 5, reference="A")], [move(1, 5, reference="A"), move(2, 6, reference="A")]

    assert found(twice, once) == [("matched", 1, 1), ("duplicate", 2, None, 1)]
    assert found(once, twice) == [("matched", 1, 1), ("duplicate", None, 2, 1)]
    assert found(once, [*twice[:1], move(2, 5, reference="A")]) == [("matched", 1, 1), ("duplicate", None, 2, 1)]


def test_a_duplicate_is_not_matched_with_something_else_of_its_amount():
    lines = [move(1, 5, reference="A"), move(2, 5, reference="A")]
    entries = [move(1, 5, reference="A"), move(2, 5)]

    assert found(lines, entries) == [
        ("matched", 1, 1),
        ("duplicate", 2, None, 1),
        ("missing_at_bank", None, 2),
    ]


def test_last_month_s_entry_is_neither_missing_nor_a_duplicate_of_this_month_s():
    lines = [move(1, 1, reference="A"), move(2, 2, 7)]
    entries = [move(1, 1, reference="A"), move(2, -1, reference="A"), move(3, -1, 7), move(4, 0, 9)]

    assert found(lines, entries) == [("matched", 1, 1), ("matched", 2, 3)]


def test_one_line_for_two_entries_of_one_receipt_is_ambiguous():
    assert Counter(
        one[0]
        for one in found([move(1, 5, 1000, receipt="R")], [move(1, 5, 600, receipt="R"), move(2, 6, 400, receipt="R")])
    ) == {"ambiguous": 3}


movements = some.lists(
    some.builds(
        lambda day, amount, receipt, reference, mark: (
            day,
            amount,
            {"receipt": receipt, "reference": reference, "mark": mark},
        ),
        some.integers(-3, 34),
        some.sampled_from([1000, 1000, 1000, -1000, 700]),
        some.sampled_from([None, None, "R1", "R2"]),
        some.sampled_from([None, None, "A", "B"]),
        some.sampled_from([None, None, None, "m1", "m2"]),
    ),
    max_size=12,
)


def numbered(drawn: list[tuple[int, int, dict[str, Any]]]) -> list[Movement]:
    return [move(number, day, amount, **names) for number, (day, amount, names) in enumerate(drawn, 1)]


@given(movements, movements, some.integers(0, 5), some.randoms(use_true_random=False))
@examples(150)
def test_every_line_and_every_entry_is_found_once_and_in_any_order_the_same(lines_, entries_, window_days, shuffler):
    lines, entries = numbered(lines_), numbered(entries_)

    def asked() -> list[Finding]:
        return match(lines, entries, window_days=window_days, is_due=lambda one: one.on.month == 3)

    first = asked()
    shuffler.shuffle(lines)
    shuffler.shuffle(entries)
    assert asked() == first

    assert Counter(one.line.number for one in first if one.line) == {line.number: 1 for line in lines}
    entered = Counter(one.entry.number for one in first if one.entry)
    assert set(entered.values()) <= {1}
    assert {entry.number for entry in entries if entry.on.month == 3} <= entered.keys()
    for one in first:
        if one.verdict is Verdict.MATCHED:
            assert one.line is not None
            assert one.entry is not None
            assert one.line.amount_minor == one.entry.amount_minor
            assert abs((one.line.on - one.entry.on).days) <= window_days
        both = one.line is not None and one.entry is not None
        assert both == (one.verdict in {Verdict.MATCHED, Verdict.AMOUNT_DIFFERS, Verdict.DATE_OUTSIDE_WINDOW})
        assert (one.group is not None) == (one.verdict is Verdict.AMBIGUOUS)
        assert (one.repeats is not None) == (one.verdict is Verdict.DUPLICATE)


def every_pairing(lines: list[Movement], entries: list[Movement], window_days: int) -> list[frozenset[tuple[int, int]]]:
    """Return all pairings within the window in which no two pairs cross; `number` is the place in the list."""
    if not lines:
        return [frozenset()]
    *rest, last = lines
    pairings = every_pairing(rest, entries, window_days)
    return pairings + [
        pairing | {(last.number, entry.number)}
        for pairing in pairings
        for entry in entries
        if abs((last.on - entry.on).days) <= window_days
        and not any(
            entry.number == other or (lines[line].on - last.on).days * (entries[other].on - entry.on).days < 0
            for line, other in pairing
        )
    ]


days = some.lists(some.integers(1, 9), min_size=1, max_size=4)


@given(days, days, some.integers(0, 4))
@example([3, 4], [1, 4, 5], 2)
@example([1, 2], [3, 4], 3)
@example([1, 1], [1, 2], 1)
@examples(150)
def test_what_is_paired_is_what_every_best_pairing_has(line_days, entry_days, window_days):
    lines = [move(number, day) for number, day in enumerate(line_days)]
    entries = [move(number, day) for number, day in enumerate(entry_days)]

    def worth(pairing: frozenset[tuple[int, int]]) -> tuple[int, int]:
        return len(pairing), -sum(abs(line_days[line] - entry_days[entry]) for line, entry in pairing)

    pairings = every_pairing(lines, entries, window_days)
    best = [pairing for pairing in pairings if worth(pairing) == max(map(worth, pairings))]
    sure, possible = frozenset.intersection(*best), frozenset.union(*best)

    aligned = align(lines, entries, window_days)

    assert {(line.number, entry.number) for line, entry in aligned.pairs} == sure
    undecided = [{one.number for group in aligned.undecided for one in group[side]} for side in (0, 1)]
    assert undecided == [{pair[side] for pair in possible - sure} for side in (0, 1)]


def test_one_amount_every_day_for_years_is_matched_day_by_day():
    lines = [move(number, number) for number in range(1, 1001)]

    results = found(lines, [move(number, number + 1) for number in range(1, 1001)])

    assert [one[0] for one in results[:999]] == ["matched"] * 999
    assert all(before[1] < after[1] for before, after in pairwise(results[:999]))


def test_thousands_that_are_all_alike_are_ambiguous_and_with_a_name_all_but_one_duplicates():
    lines = [move(number, number % 3 + 1) for number in range(1000)]
    assert len(lines) ** 2 > CANDIDATES_MAX

    assert {one[0] for one in found(lines, lines)} == {"ambiguous"}
    named = [move(number, number % 3 + 1, reference="A") for number in range(1000)]
    assert Counter(one[0] for one in found(named[:1], named)) == {"matched": 1, "duplicate": 999}
