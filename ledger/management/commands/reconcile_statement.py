"""`manage.py reconcile_statement`: do the books agree with what the bank printed?"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ledger.domain.accounts import AccountRef
from ledger.domain.reconciliations import WINDOW_DAYS_DEFAULT, WINDOW_DAYS_MAX
from ledger.management.mappings import add_mapping, bank_of, currency_of
from ledger.management.reconciling import Report
from ledger.management.reporting import ReportCommand, client_named, progress_bar
from ledger.queries.accounts import find_account
from ledger.queries.comparisons import Dates, compare_accounts, one_moment
from ledger.statements import Bank, MalformedLine, StatementLine
from ledger.statements.files import open_statement
from ledger.statements.formats import ValueMalformed, date_reader
from ledger.statements.reader import read_statement
from ledger.statements.sorting import sorted_by_account

_read_date = date_reader("YYYY-MM-DD", None)


class Command(ReportCommand):
    help = (
        "Compares each line of a bank's statement with the entries of our account, and the closing balances. Changes "
        "nothing. Exits with 1 when a line or an entry has no match, or a balance differs by more than the bank's "
        "rounding. When a line does not fit the mapping nothing is compared."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path, help="the bank's file, plain or gzip")
        add_mapping(parser)
        parser.add_argument("--client", required=True, help="whose books")
        parser.add_argument("--account", help="our account, by id or path; without, each line names one")
        parser.add_argument(
            "--date-window-days",
            type=int,
            choices=range(WINDOW_DAYS_MAX + 1),
            default=WINDOW_DAYS_DEFAULT,
            metavar="DAYS",
            help=f"how far apart a line and its entry may be, at most {WINDOW_DAYS_MAX} (default: %(default)s)",
        )
        for name, which in (("--first-date", "first"), ("--last-date", "last")):
            about = f"the {which} day that the statement covers (without: that of its {which} line)"
            parser.add_argument(name, type=_date, metavar="YYYY-MM-DD", help=about)

    def report(self, options: Mapping[str, Any]) -> None:
        asked = _asked(options)
        try:
            report = _reconcile(asked)
        except OSError as error:
            raise CommandError(f"{asked.file} cannot be read: {error.strerror or error}.") from error
        if options["json"]:
            self.write_json(report.as_json())
        else:
            for line in report.as_text():
                self.stdout.write(line)
        reasons = report.reasons()
        if reasons:
            raise CommandError(" ".join(reasons))


def _date(text: str) -> date:
    try:
        return _read_date(text)
    except ValueMalformed as error:
        raise ArgumentTypeError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Whose file is compared with what; without an account each line names its own."""

    file: Path
    bank: Bank
    client_id: int
    account: AccountRef | None
    currency: str
    exponent: int
    dates: Dates
    is_quiet: bool


def _asked(options: Mapping[str, Any]) -> _Asked:
    bank, client_id = bank_of(options["mapping"]), client_named(options["client"]).pk
    account = None if options["account"] is None else find_account(client_id, options["account"])
    if account is not None:
        currency, exponent = account.currency, account.exponent
    elif options["account"] is not None:
        raise CommandError(f"The client has no account {options['account']!r}.")
    elif bank.mapping.account_path is None:
        raise CommandError(f"By {bank.name} no line names its account: say which it is with --account.")
    else:
        currency, exponent = currency_of(bank)
    if bank.mapping.currency not in {None, currency}:
        raise CommandError(f"{bank.name} is in {bank.mapping.currency}, the account in {currency}.")
    return _Asked(
        file=options["file"],
        bank=bank,
        client_id=client_id,
        account=account,
        currency=currency,
        exponent=exponent,
        dates=Dates(first=options["first_date"], last=options["last_date"], window_days=options["date_window_days"]),
        is_quiet=options["json"],
    )


def _reconcile(asked: _Asked) -> Report:
    report = Report(asked.currency, asked.exponent, asked.bank.rounding_minor(asked.exponent))
    with (
        open_statement(asked.file) as (content, bytes_read),
        progress_bar(asked.file.name, total=asked.file.stat().st_size, unit="B", hidden=asked.is_quiet) as bar,
    ):
        lines = _understood(
            report,
            read_statement(asked.bank, content, currency=asked.currency, exponent=asked.exponent),
            after_line=lambda: bar.update(bytes_read() - bar.n),
        )
        with sorted_by_account(lines if asked.account is None else _of_one_account(lines)) as in_order:
            bar.close()
            if not report.malformed:
                _compare(report, asked, in_order)
    return report


def _compare(report: Report, asked: _Asked, lines: Iterable[StatementLine]) -> None:
    found = compare_accounts(
        client_id=asked.client_id,
        bank=asked.bank,
        account=asked.account,
        lines=lines,
        exponent=asked.exponent,
        dates=asked.dates,
    )
    with one_moment(), progress_bar("compared", total=report.lines, unit=" lines", hidden=asked.is_quiet) as bar:
        for number, comparison in found:
            report.add(number if asked.account is None else asked.account.path, comparison)
            bar.update(len(comparison.lines))


def _understood(
    report: Report, lines: Iterable[StatementLine | MalformedLine], after_line: Callable[[], object]
) -> Iterator[StatementLine]:
    for line in lines:
        after_line()
        if isinstance(line, MalformedLine):
            report.add_malformed(line)
        else:
            report.lines += 1
            yield line


def _of_one_account(lines: Iterable[StatementLine]) -> Iterator[StatementLine]:
    first: StatementLine | None = None
    for line in lines:
        first = first or line
        if line.account != first.account:
            raise CommandError(
                f"With --account all lines are of one: line {first.number} is of {first.account}, "
                f"line {line.number} of {line.account}."
            )
        yield line
