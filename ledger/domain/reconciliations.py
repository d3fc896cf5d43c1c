"""What a reconciliation shows: how a bank's statement and the books of one account agree, and each break."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from msgspec import Struct

from config.runtime.clock import MomentText
from ledger.domain.matching import Finding, Verdict
from ledger.domain.shapes import AccountName

WINDOW_DAYS_MAX = 31
WINDOW_DAYS_DEFAULT = 3


class SidesShape(Struct, frozen=True, kw_only=True):
    """How many lines of the statement, and how many entries of the account."""

    lines: int
    entries: int


class CountsShape(Struct, frozen=True, kw_only=True):
    """Each line of the statement and each entry that was compared, once in the total and once in one of the others."""

    total: SidesShape
    matched: SidesShape
    amount_differs: SidesShape
    date_outside_window: SidesShape
    duplicate: SidesShape
    ambiguous: SidesShape
    missing_in_books: SidesShape
    missing_at_bank: SidesShape


class ClosingShape(Struct, frozen=True, kw_only=True):
    """The balance after the statement's last day: as the bank printed it, if it did, and as it stood in the books."""

    bank: str | None
    books: str
    difference: str | None
    agrees: bool


class ReconciliationShape(Struct, frozen=True, kw_only=True):
    """A reconciliation of one account; `agrees` when there is no break and the closing balances agree.

    `mapping` is the name of a ready one, or the one that was sent. The dates are those of the first and last line.
    """

    id: UUID
    account: AccountName
    currency: str
    mapping: str | dict[str, Any]
    date_window_days: int
    first_date: str
    last_date: str
    agrees: bool
    counts: CountsShape
    closing: ClosingShape
    content_sha256: str
    created_at: MomentText


class BankLineShape(Struct, frozen=True, kw_only=True):
    """A line of the statement, by its number in the file; its amount is above zero when the balance rises."""

    number: int
    date: str
    amount: str
    balance: str | None
    id: str | None
    reference: str | None
    description: str | None
    counterparty: str | None


class BookedLineShape(Struct, frozen=True, kw_only=True):
    """An entry of the account; its date is that of effective_at, its amount above zero when the balance rises."""

    account_version: int
    date: str
    amount: str
    transaction_id: UUID
    receipt_code: str
    reference: str | None


class BreakShape(Struct, frozen=True, kw_only=True):
    """A line without its entry, an entry without its line, or two that belong together and differ.

    `group` is that of ambiguous lines and entries that may belong together; `repeats` is the number of the line, or the
    account_version of the entry, that a duplicate repeats.
    """

    index: int
    kind: Verdict
    line: BankLineShape | None
    entry: BookedLineShape | None
    group: int | None
    repeats: int | None


class BreakPage(Struct, frozen=True, kw_only=True):
    """A page of breaks."""

    data: list[BreakShape]
    next_cursor: str | None
    prev_cursor: str | None


class ReconciliationDetailShape(ReconciliationShape, frozen=True, kw_only=True):
    """A reconciliation with a page of its breaks, kind by kind."""

    breaks: BreakPage


class Tally:
    """Counts what was found, on both sides."""

    def __init__(self) -> None:
        self._lines: Counter[Verdict] = Counter()
        self._entries: Counter[Verdict] = Counter()

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._lines[finding.verdict] += finding.line is not None
            self._entries[finding.verdict] += finding.entry is not None

    def shape(self) -> CountsShape:
        sides = {
            verdict.value: SidesShape(lines=self._lines[verdict], entries=self._entries[verdict]) for verdict in Verdict
        }
        return CountsShape(total=SidesShape(lines=self._lines.total(), entries=self._entries.total()), **sides)


def count(findings: Iterable[Finding]) -> CountsShape:
    """Return how much was found, on both sides."""
    tally = Tally()
    tally.add(findings)
    return tally.shape()
