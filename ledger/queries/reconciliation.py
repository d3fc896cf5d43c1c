"""Compare the books with a bank's statement: our closing balance of each account beside what the bank printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice

from config.runtime.arrays import texts
from config.runtime.clock import rfc3339
from config.runtime.database import raw_cursor
from config.runtime.sql import sql_file
from ledger.statements import Bank, MalformedLine, StatementLine

_ACCOUNTS_AT_ONCE = 1000


@dataclass(slots=True)
class _LastDay:
    """An account's last day in a file, and the balances printed on it: the lines of a day stand in no sure order."""

    on: date
    printed: list[int]


@dataclass(frozen=True, slots=True)
class Break:
    """An account whose closing balance differs by more than the bank's rounding; amounts in minor units.

    `ours` is None for an account that the books do not have.
    """

    account: str
    ours: int | None
    printed: int

    @property
    def difference(self) -> int:
        """How far the two are apart, without a sign."""
        return abs((self.ours or 0) - self.printed)


@dataclass(slots=True)
class Reconciliation:
    """How many accounts were compared, agree exactly, and agree within the bank's rounding (exact ones included)."""

    accounts: int = 0
    exact: int = 0
    within_rounding: int = 0
    breaks: list[Break] = field(default_factory=list)
    sum_minor: int = 0
    malformed: int = 0


def reconcile(*, client_id: int, bank: Bank, lines: Iterable[StatementLine | MalformedLine]) -> Reconciliation:
    """Compare each account's balance at the end of its last day in the file with the nearest one printed on that day.

    Ours is what the books say of that day, whatever was booked for later days; `sum_minor` is the sum of ours.
    Holds a few words of memory for each account of the file, not for each line.
    """
    result = Reconciliation()
    last_days = _last_days(lines, result)
    for ours in _closing_balances(client_id, bank, last_days):
        for account, balance in ours.items():
            _compare(result, bank, account, balance, last_days[account].printed)
    result.breaks.sort(key=lambda one: (-one.difference, one.account))
    return result


def _last_days(lines: Iterable[StatementLine | MalformedLine], result: Reconciliation) -> dict[str, _LastDay]:
    last_days: dict[str, _LastDay] = {}
    for line in lines:
        if isinstance(line, MalformedLine):
            result.malformed += 1
            continue
        last = last_days.get(line.account)
        if last is None or line.on > last.on:
            last_days[line.account] = _LastDay(line.on, [line.balance_minor])
        elif line.on == last.on:
            last.printed.append(line.balance_minor)
    return last_days


def _closing_balances(client_id: int, bank: Bank, last_days: Mapping[str, _LastDay]) -> Iterator[dict[str, int | None]]:
    """Yield our balances, a part of the accounts at a time; None for those that the books do not have."""
    source = iter(last_days.items())
    while part := dict(islice(source, _ACCOUNTS_AT_ONCE)):
        with raw_cursor() as cursor:
            cursor.execute(
                sql_file("ledger/queries", "closing_balances"),
                {
                    "client_id": client_id,
                    "paths": texts(bank.customer_path(account) for account in part),
                    "untils": texts(_end_of(last.on) for last in part.values()),
                },
            )
            # The bank owes its customers: their accounts are credit-normal.
            found = {path: -int(debited) for path, debited in cursor}
        yield {account: found.get(bank.customer_path(account)) for account in part}


def _end_of(day: date) -> str:
    return rfc3339(datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC))


def _compare(result: Reconciliation, bank: Bank, account: str, ours: int | None, printed: list[int]) -> None:
    result.accounts += 1
    result.sum_minor += ours or 0
    nearest = min(printed, key=lambda balance: abs(balance - (ours or 0)))
    if ours is None or abs(ours - nearest) > bank.rounding_minor:
        result.breaks.append(Break(account, ours, nearest))
        return
    result.exact += ours == nearest
    result.within_rounding += 1
