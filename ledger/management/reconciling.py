"""What `reconcile_statement` found, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ledger.domain.money import format_amount
from ledger.domain.reconciliations import BreakShape, Tally
from ledger.management.reporting import grouped
from ledger.queries.comparisons import Closing, Comparison
from ledger.queries.reconciliations import break_shapes
from ledger.statements import MalformedLine

SHOWN_MAX = 100


@dataclass(slots=True)
class Report:
    """What was found of the accounts of a file, or which of its lines are malformed: then nothing was compared.

    `within_rounding` counts exact ones too; `closings` are the accounts whose balances do not agree.
    """

    currency: str
    exponent: int
    rounding_minor: int
    lines: int = 0
    accounts: int = 0
    exact: int = 0
    within_rounding: int = 0
    sum_minor: int = 0
    closings: list[tuple[str, Closing]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    breaks: list[tuple[str, BreakShape]] = field(default_factory=list)
    malformed: int = 0
    problems: list[MalformedLine] = field(default_factory=list)

    def add(self, account: str, comparison: Comparison) -> None:
        closing = comparison.closing
        self.accounts += 1
        self.sum_minor += closing.ours or 0
        self.exact += closing.agrees and closing.difference == 0
        self.within_rounding += closing.agrees
        if not closing.agrees:
            self.closings.append((account, closing))
        self.tally.add(comparison.findings)
        self.breaks += [(account, shape) for shape in break_shapes(comparison, exponent=self.exponent)]

    def add_malformed(self, line: MalformedLine) -> None:
        self.malformed += 1
        if len(self.problems) < SHOWN_MAX:
            self.problems.append(line)

    @property
    def sorted_closings(self) -> list[tuple[str, Closing]]:
        """The accounts that do not agree, the worst first."""
        return sorted(self.closings, key=lambda one: (-abs(one[1].difference), one[0]))

    def reasons(self) -> list[str]:
        """Return why the books and the statement do not agree; nothing if they do."""
        reasons = []
        if self.malformed:
            reasons.append(f"{self.malformed} lines of the file are malformed; nothing was compared.")
        elif not self.accounts:
            reasons.append("The statement has no lines; nothing was compared.")
        if self.closings:
            reasons.append(f"{len(self.closings)} of {self.accounts} accounts do not agree with the statement.")
        if self.breaks:
            reasons.append(f"{len(self.breaks)} breaks were found among lines and entries.")
        return reasons

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        if self.malformed:
            problems = [{"line": line.number, "reason": line.reason} for line in self.problems]
            return {"malformed": self.malformed, "problems": problems}

        def text(minor: int | None) -> str | None:
            return None if minor is None else format_amount(minor, exponent=self.exponent)

        rounding = format_amount(self.rounding_minor, exponent=self.exponent)
        return {
            "accounts": self.accounts,
            "exact": self.exact,
            "within_" + rounding.replace(".", "_"): self.within_rounding,
            "breaks": [
                {
                    "account": account,
                    "ours": text(closing.ours),
                    "printed": text(closing.printed),
                    "difference": text(abs(closing.difference)),
                }
                for account, closing in self.sorted_closings
            ],
            "sum": text(self.sum_minor),
            "currency": self.currency,
            "malformed": 0,
            "counts": msgspec.to_builtins(self.tally.shape()),
            "line_breaks": [{"account": account} | msgspec.to_builtins(one) for account, one in self.breaks],
        }

    def as_text(self) -> Iterator[str]:
        """Yield it line by line, the first of each kind of trouble only."""
        if self.malformed:
            yield from (f"line {line.number}: {line.reason}" for line in self.problems)
            yield from _left_off(self.malformed)
            return
        yield from self._balances()
        yield f"\n{'':<20} {'lines':>12} {'entries':>12}"
        for name, sides in msgspec.structs.asdict(self.tally.shape()).items():
            yield f"{name:<20} {sides.lines:>12,} {sides.entries:>12,}"
        if self.breaks:
            yield ""
        yield from (_told(account, one) for account, one in self.breaks[:SHOWN_MAX])
        yield from _left_off(len(self.breaks))

    def _balances(self) -> Iterator[str]:
        def money(minor: int) -> str:
            return grouped(minor, self.exponent)

        yield f"accounts            {self.accounts:>16,}"
        yield f"exact               {self.exact:>16,}"
        yield f"within {money(self.rounding_minor):<12} {self.within_rounding:>16,}"
        yield f"breaks              {len(self.closings):>16,}"
        yield f"sum ({self.currency})           {money(self.sum_minor):>16}"
        if self.closings:
            yield f"\n{'account':<18} {'ours':>16} {'printed':>16} {'difference':>16}"
        for account, closing in self.sorted_closings:
            ours = "not in the books" if closing.ours is None else money(closing.ours)
            printed = "not printed" if closing.printed is None else money(closing.printed)
            yield f"{account:<18} {ours:>16} {printed:>16} {money(abs(closing.difference)):>16}"


def _left_off(count: int) -> Iterator[str]:
    if count > SHOWN_MAX:
        yield f"… and {count - SHOWN_MAX:,} more (the first {SHOWN_MAX} are shown)"


def _told(account: str, one: BreakShape) -> str:
    """Return a break in words."""
    parts = [f"{account}: {one.kind.value}"]
    if one.line is not None:
        line = one.line
        said = line.reference or line.id or line.description or ""
        parts.append(f"line {line.number} of {line.date}, {line.amount} {said}".rstrip())
    if one.entry is not None:
        entry = one.entry
        parts.append(f"entry {entry.account_version} of {entry.date}, {entry.amount} {entry.receipt_code}")
    if one.group is not None:
        parts.append(f"group {one.group}")
    if one.repeats is not None:
        parts.append(f"repeats {one.repeats}")
    return " | ".join(parts)
