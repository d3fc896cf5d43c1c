"""Compare the books with a bank's statement: line with entry, and the closing balances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from operator import attrgetter
from uuid import UUID

from django.db import transaction

from config.runtime.arrays import texts
from config.runtime.database import raw_cursor
from config.runtime.errors import Invalid
from config.runtime.sql import sql_file
from ledger.domain.accounts import AccountKind, AccountRef
from ledger.domain.alignment import Movement
from ledger.domain.matching import Finding, Verdict, match
from ledger.domain.receipts import receipt_codes_in
from ledger.errors import CurrencyMismatch
from ledger.queries.accounts import find_account
from ledger.statements import Bank, StatementLine

_ONE_MOMENT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class BookedLine:
    """An entry as it is compared: its amount is above zero when the account's balance rises."""

    account_version: int
    on: date
    amount_minor: int
    transaction_id: UUID
    receipt_code: str
    reference: str | None
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class Closing:
    """The balance after the last day: `printed` is None where the bank prints none, `ours` for an unknown account."""

    printed: int | None
    ours: int | None
    rounding_minor: int

    @property
    def difference(self) -> int:
        """How far the two are apart: what the bank has and the books have not."""
        return 0 if self.printed is None else self.printed - (self.ours or 0)

    @property
    def agrees(self) -> bool:
        """Whether the account is in the books, with the printed balance up to the bank's rounding."""
        return self.ours is not None and abs(self.difference) <= self.rounding_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was found of one account's lines and entries, matches included."""

    first_date: date
    last_date: date
    lines: dict[int, StatementLine]
    entries: dict[int, BookedLine]
    findings: list[Finding]
    closing: Closing

    @property
    def breaks(self) -> list[Finding]:
        """What does not match, kind by kind."""
        return [finding for finding in self.findings if finding.verdict is not Verdict.MATCHED]


class StatementOutsideDates(Invalid):
    """A line is of a day before the first or after the last that the statement is said to cover."""

    code = "statement_outside_dates"


class EntriesTooMany(Invalid):
    """More than 20,000 entries would have to be compared: send the statement in parts of fewer days."""

    code = "entries_too_many"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dates:
    """Which days a statement covers, and how far apart a line and its entry may be."""

    first: date | None = None
    last: date | None = None
    window_days: int

    def covering(self, lines: Sequence[StatementLine]) -> tuple[date, date]:
        """Return the first and the last day: where they are not said, those of the lines.

        Raises:
            StatementOutsideDates: a line is of another day.
        """
        earliest, latest = min(lines, key=attrgetter("on")), max(lines, key=attrgetter("on"))
        if self.first is not None and earliest.on < self.first:
            detail = f"Line {earliest.number} is of {earliest.on}, before the first day."
            raise StatementOutsideDates.at("/first_date", detail=detail)
        if self.last is not None and latest.on > self.last:
            detail = f"Line {latest.number} is of {latest.on}, after the last day."
            raise StatementOutsideDates.at("/last_date", detail=detail)
        return self.first or earliest.on, self.last or latest.on


@contextmanager
def one_moment() -> Iterator[None]:
    """Let all that is read in this block be of one moment. Must not be opened inside a database transaction."""
    with transaction.atomic(durable=True):
        with raw_cursor() as cursor:
            cursor.execute(_ONE_MOMENT)
        yield


def compare_accounts(
    *,
    client_id: int,
    bank: Bank,
    account: AccountRef | None,
    lines: Iterable[StatementLine],
    exponent: int,
    dates: Dates,
) -> Iterator[tuple[str, Comparison]]:
    """Yield the bank's number of each account and what was found of it; the lines come account by account.

    They are compared with `account`, if it is given, else with the account that each names. Call inside `one_moment`.

    Raises:
        CurrencyMismatch: such an account is not in the currency of the mapping.
        StatementOutsideDates: a line is.
    """
    for number, some in groupby(lines, key=lambda line: line.account or ""):
        ours = account or find_account(client_id, bank.account_path(number))
        if ours is not None and bank.mapping.currency not in {None, ours.currency}:
            raise CurrencyMismatch(
                f"Account {ours.path} is in {ours.currency}, the statement in {bank.mapping.currency}."
            )
        yield number, compare(bank=bank, account=ours, lines=list(some), exponent=exponent, dates=dates)


def compare(
    *,
    bank: Bank,
    account: AccountRef | None,
    lines: Sequence[StatementLine],
    exponent: int,
    dates: Dates,
    entries_max: int | None = None,
) -> Comparison:
    """Compare the lines of a statement, at least one, with our account, or with nothing if we have none.

    The statement has to show what took effect in its dates; entries of other days count only where a line belongs to
    them. Changes nothing; call inside `one_moment`.

    Raises:
        StatementOutsideDates: a line is.
        EntriesTooMany: there are more than `entries_max`.
    """
    first, last = dates.covering(lines)
    movements = [_movement(bank, line) for line in lines]
    span = first - dates.window_days * _A_DAY, last + dates.window_days * _A_DAY
    entries = [] if account is None else _entries(account, movements, span, entries_max)
    findings = match(
        movements,
        [_booked(entry) for entry in entries],
        window_days=dates.window_days,
        is_due=lambda entry: first <= entry.on <= last,
    )
    ours = None if account is None else _closing_balance(account, last)
    return Comparison(
        first_date=first,
        last_date=last,
        lines={line.number: line for line in lines},
        entries={entry.account_version: entry for entry in entries},
        findings=findings,
        closing=Closing(_printed(lines, ours), ours, bank.rounding_minor(exponent)),
    )


def _movement(bank: Bank, line: StatementLine) -> Movement:
    receipts = receipt_codes_in(" ".join(filter(None, (line.reference, line.description, line.id))))
    # Without a number of the bank's, equal lines are the same one if not even the balance has moved between them.
    mark = line.id or (None if line.balance_minor is None else line.content_hash)
    return Movement(
        number=line.number,
        on=line.on,
        amount_minor=line.amount_minor,
        receipt=receipts.pop() if len(receipts) == 1 else None,  # one that names several is none of them alone
        reference=line.reference,
        imported_as=None if line.id is None else bank.idempotency_key(line.id),
        mark=mark,
    )


def _booked(entry: BookedLine) -> Movement:
    return Movement(
        number=entry.account_version,
        on=entry.on,
        amount_minor=entry.amount_minor,
        receipt=entry.receipt_code,
        reference=entry.reference,
        imported_as=entry.idempotency_key,
    )


def _entries(
    account: AccountRef, lines: Sequence[Movement], span: tuple[date, date], entries_max: int | None
) -> list[BookedLine]:
    with raw_cursor() as cursor:
        cursor.execute(
            sql_file("ledger/queries", "entries_to_match"),
            {
                "account_id": account.id,
                "since": _start_of(span[0]),
                "until": _start_of(span[1] + _A_DAY),
                "receipts": texts(line.receipt for line in lines if line.receipt is not None),
                "references": texts(line.reference for line in lines if line.reference is not None),
                "keys": texts(line.imported_as for line in lines if line.imported_as is not None),
                "limit": None if entries_max is None else entries_max + 1,
            },
        )
        sign = AccountKind(account.kind).sign
        found = [BookedLine(row[0], row[1], sign * int(row[2]), *row[3:]) for row in cursor]
    if entries_max is not None and len(found) > entries_max:
        raise EntriesTooMany.at("/content")
    return found


def _closing_balance(account: AccountRef, last: date) -> int:
    with raw_cursor() as cursor:
        cursor.execute(
            sql_file("ledger/queries", "closing_balance"),
            {"account_id": account.id, "until": _start_of(last + _A_DAY)},
        )
        return AccountKind(account.kind).sign * int(cursor.fetchall()[0][0])


def _printed(lines: Sequence[StatementLine], ours: int | None) -> int | None:
    """Return the balance of the last day that is nearest to ours: the lines of a day stand in no sure order."""
    last = max(line.on for line in lines)
    printed = [line.balance_minor for line in lines if line.on == last and line.balance_minor is not None]
    return min(printed, key=lambda balance: abs(balance - (ours or 0)), default=None)


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
