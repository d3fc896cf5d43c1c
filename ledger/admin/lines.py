"""The lines of journals and of accounts' books, as the pages show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from config.api.backoffice.shown import moment
from ledger.domain.balances import Side
from ledger.domain.shapes import EntryShape
from ledger.models import Entry, Journal
from ledger.queries.transactions import entry_shape


@dataclass(frozen=True, slots=True)
class Line:
    """One line, with the keys that its links need; `debit` or `credit` is empty."""

    shape: EntryShape
    account_key: int
    journal_kind: str
    debit: str
    credit: str
    posted_at: str


@dataclass(frozen=True, slots=True)
class Booking:
    """A journal with its lines."""

    journal: Journal
    posted_at: str
    lines: Sequence[Line]


def lines_of(entries: Iterable[Entry]) -> list[Line]:
    """Return entries as lines; account, currency and journal must be at hand, or each costs a query."""
    return [_line(entry) for entry in entries]


def bookings_of(journals: Sequence[Journal]) -> list[Booking]:
    """Return journals with their lines, for one query however many they are."""
    by_journal: dict[UUID, list[Line]] = {journal.pk: [] for journal in journals}
    entries = Entry.objects.filter(journal__in=journals).select_related("journal", "account__currency")
    for line in lines_of(entries.order_by("journal", "line")):
        by_journal[line.shape.journal_id].append(line)
    return [Booking(journal, moment(journal.posted_at), by_journal[journal.pk]) for journal in journals]


def _line(entry: Entry) -> Line:
    shape = entry_shape(entry, entry.account)
    is_debit = shape.side == Side.DEBIT.value
    return Line(
        shape=shape,
        account_key=entry.account_id,
        journal_kind=entry.journal.kind,
        debit=shape.amount if is_debit else "",
        credit="" if is_debit else shape.amount,
        posted_at=moment(entry.posted_at),
    )
