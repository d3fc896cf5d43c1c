"""An account's statement, read so that nothing is missing from it and nothing will be added to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import NamedTuple

from django.db import connection, transaction

from config.runtime.clock import rfc3339
from config.runtime.sql import sql_file
from ledger.domain.account_statements import (
    COUNTERPARTIES_MAX,
    LINES_MAX,
    AccountStatementLineShape,
    AccountStatementShape,
    StandShape,
    TurnoverShape,
)
from ledger.domain.balances import Side
from ledger.domain.money import format_amount
from ledger.domain.shapes import AccountName, account_name
from ledger.errors import StatementInFuture, StatementRangeEmpty, StatementTooLong
from ledger.locks import settled_at
from ledger.models import Balance
from ledger.queries.accounts import accounts_by_id
from ledger.queries.balances import SUMS_AT

LINES = sql_file("ledger/queries", "account_statement_lines")
DEBIT, CREDIT = Side.DEBIT.value, Side.CREDIT.value
# Row by row through the keys: for some thousand lines the planner would read every journal that there is, and have
# the query compiled first.
ROW_BY_ROW = """
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true)
"""
# When the first line was booked that a statement has no room for.
FIRST_TOO_MANY = """
SELECT posted_at
FROM ledger_entry
WHERE account_id = %(account_id)s AND account_version > %(after)s AND account_version <= %(until)s AND layer = 'posted'
ORDER BY account_version
OFFSET %(lines_max)s
LIMIT 1
"""


class _Stand(NamedTuple):
    """The last version of an account before a moment, and what was booked then: debits less credits."""

    version: int
    posted_minor: int


class _Line(NamedTuple):
    """A row of LINES."""

    account_version: int
    journal_id: str
    line: int
    amount_minor: str
    posted_after: str
    posted_at: str
    effective_at: str
    journal_kind: str
    transaction_id: str
    receipt_code: str
    type: str
    reference: str | None
    description: str | None
    counterparty_ids: str


def account_statement(row: Balance, *, since: datetime | None, until: datetime | None) -> AccountStatementShape:
    """Return what was booked on an account from `since` (its opening) on and before `until` (the present).

    Raises:
        StatementInFuture: `until` has not come yet.
        StatementRangeEmpty: `since` is not before `until`.
        StatementTooLong: there are more than LINES_MAX lines.
    """
    account, exponent = row.account, row.account.currency.exponent
    begin = account.created_at if since is None else since
    end = _settled(row, until)
    if begin >= end:
        raise StatementRangeEmpty.at("from")
    opening, closing = _stand_before(row, begin), _stand_before(row, end)
    lines = _lines(row, opening, closing)
    names = _names({line.counterparty_ids for line in lines})
    return AccountStatementShape(
        account=account_name(account),
        kind=account.kind,
        currency=account.currency_id,
        since=rfc3339(begin),
        until=rfc3339(end),
        opening=_stand_shape(opening, row.sign, exponent),
        closing=_stand_shape(closing, row.sign, exponent),
        debits=_turnover([amount for line in lines if (amount := int(line.amount_minor)) > 0], exponent),
        credits=_turnover([-amount for line in lines if (amount := int(line.amount_minor)) < 0], exponent),
        lines=[_line_shape(line, names[line.counterparty_ids], row.sign, exponent) for line in lines],
    )


def _settled(row: Balance, until: datetime | None) -> datetime:
    """Return the end of a statement, once nothing can be booked before it any more."""
    if until is not None and row.last_posted_at is not None and until <= row.last_posted_at:
        return until  # an account's bookings do not go back in time
    with transaction.atomic():
        settled = settled_at(row.account_id)
        transaction.set_rollback(True)  # nothing was written, and so the disk need not be waited for
    if until is not None and until > settled:
        raise StatementInFuture.at("to")
    return until or settled


def _stand_before(row: Balance, moment: datetime) -> _Stand:
    # Nothing was booked before the account was opened; and before year 1 there is no time at all.
    at = max(moment, row.account.created_at) - timedelta(microseconds=1)
    with connection.cursor() as cursor:
        cursor.execute(SUMS_AT, {"account_id": row.account_id, "at": at})
        found = cursor.fetchone()
    return _Stand(found[0], int(found[1])) if found else _Stand(0, 0)


def _lines(row: Balance, opening: _Stand, closing: _Stand) -> list[_Line]:
    parameters = {"account_id": row.account_id, "after": opening.version, "until": closing.version}
    with transaction.atomic(), connection.cursor() as cursor:
        if closing.version - opening.version > LINES_MAX:
            cursor.execute(FIRST_TOO_MANY, parameters | {"lines_max": LINES_MAX})
            too_many = cursor.fetchone()
            if too_many:
                raise StatementTooLong(lines_max=LINES_MAX, to=rfc3339(too_many[0]))
        cursor.execute(ROW_BY_ROW)
        cursor.execute(LINES, parameters | {"counterparties_max": COUNTERPARTIES_MAX})
        return list(map(_Line._make, cursor.fetchall()))


def _names(id_lists: Iterable[str]) -> dict[str, tuple[AccountName, ...]]:
    """Return the accounts that arrays of ids name, which are texts of PostgreSQL: psycopg takes longer to read one."""
    ids = {text: [int(account_id) for account_id in text[1:-1].split(",")] for text in id_lists}
    refs = accounts_by_id(chain.from_iterable(ids.values()))
    names = {account_id: account_name(ref) for account_id, ref in refs.items()}
    return {text: tuple([names[account_id] for account_id in named]) for text, named in ids.items()}


def _stand_shape(stand: _Stand, sign: int, exponent: int) -> StandShape:
    return StandShape(balance=format_amount(sign * stand.posted_minor, exponent=exponent), version=stand.version)


def _turnover(amounts: Sequence[int], exponent: int) -> TurnoverShape:
    return TurnoverShape(lines=len(amounts), amount=format_amount(sum(amounts), exponent=exponent))


def _line_shape(
    line: _Line, counterparties: tuple[AccountName, ...], sign: int, exponent: int
) -> AccountStatementLineShape:
    amount_minor = int(line.amount_minor)
    return AccountStatementLineShape(
        account_version=line.account_version,
        journal_id=line.journal_id,
        line=line.line,
        journal_kind=line.journal_kind,
        posted_at=line.posted_at,
        effective_at=line.effective_at,
        transaction_id=line.transaction_id,
        receipt_code=line.receipt_code,
        type=line.type,
        reference=line.reference,
        description=line.description,
        counterparties=counterparties,
        side=DEBIT if amount_minor > 0 else CREDIT,
        amount=format_amount(abs(amount_minor), exponent=exponent),
        balance_after=format_amount(sign * int(line.posted_after), exponent=exponent),
    )
