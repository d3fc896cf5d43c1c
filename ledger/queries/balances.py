"""Balances now and then, by booking time and by effective time: of one account, and of all of a client."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import Any

from django.db import connection

from config.runtime.clock import rfc3339
from config.runtime.sql import sql_file
from ledger.domain.accounts import AccountKind
from ledger.domain.money import format_amount
from ledger.domain.shapes import BalanceAtShape, CurrencyTotalsShape, KindTotalsShape, TrialBalanceShape, account_name
from ledger.errors import BalanceInFuture
from ledger.models import Balance
from ledger.queries.accounts import balance_shape

VERSIONS_AT = sql_file("ledger/queries", "versions_at")
SUMS_AT, SUMS_EFFECTIVE, TRIAL_BALANCE = (
    sql_file("ledger/queries", name).replace("{versions_at}", VERSIONS_AT, 1)
    for name in ("sums_at", "sums_effective", "trial_balance")
)
_KINDS = list(AccountKind)


def balance_at(
    row: Balance, at: datetime | None, *, effective_at: datetime | None = None, now: datetime
) -> BalanceAtShape:
    """Return an account's balance as it was booked at a moment (the present when `at` is None).

    With `effective_at` it is the sum of the entries of that book that took effect at or before that moment: what was
    known at `at` of how the account stood at `effective_at`. Entries never change, so both have one answer for ever.

    What was held is what the holds of that book could still take then: an end of a hold that was booked later, or took
    effect later, has not ended it.

    Raises:
        BalanceInFuture: `at` has not come yet, for the books either.
    """
    _refuse_future(at, max(now, row.last_posted_at or now))
    version, posted, held = (row.version, row.posted_minor, row.held_minor) if at is None else _sums_at(row, at)
    if effective_at is not None:
        posted, held = _sums_effective(row, effective_at, version)
    shape = balance_shape(posted, held, row.account.currency.exponent)
    return BalanceAtShape(
        posted=shape.posted,
        held=shape.held,
        available=shape.available,
        account=account_name(row.account),
        currency=row.account.currency_id,
        at=rfc3339(at or now),
        effective_at=None if effective_at is None else rfc3339(effective_at),
        version=version,
    )


def trial_balance(client_id: int, at: datetime | None, *, now: datetime) -> TrialBalanceShape:
    """Return what a client's accounts stood at as booked at a moment (the present when `at` is None).

    For each currency in which the client has accounts: by kind, and in all, the sum of the balances that are debits and
    of those that are credits. A currency balances when the two are equal.

    Raises:
        BalanceInFuture: `at` has not come yet.
    """
    _refuse_future(at, now)
    rows = _rows(TRIAL_BALANCE, {"client_id": client_id, "at": at or "infinity"})
    currencies = [
        _totals(code, exponent, list(found)) for (code, exponent), found in groupby(rows, key=lambda row: row[:2])
    ]
    return TrialBalanceShape(at=rfc3339(at or now), currencies=currencies)


def _refuse_future(at: datetime | None, now: datetime) -> None:
    if at is not None and at > now:
        raise BalanceInFuture.at("at")


def _totals(code: str, exponent: int, rows: list[Any]) -> CurrencyTotalsShape:
    kinds = sorted(((kind, int(debits), int(credits_)) for *_, kind, debits, credits_ in rows), key=_place)
    debit, credit = (sum(one[side] for one in kinds) for side in (1, 2))
    return CurrencyTotalsShape(
        currency=code,
        kinds=[
            KindTotalsShape(
                kind=kind,
                debit=format_amount(debits, exponent=exponent),
                credit=format_amount(credits_, exponent=exponent),
            )
            for kind, debits, credits_ in kinds
        ],
        debit=format_amount(debit, exponent=exponent),
        credit=format_amount(credit, exponent=exponent),
        balanced=debit == credit,
    )


def _place(totals: tuple[str, int, int]) -> int:
    return _KINDS.index(AccountKind(totals[0]))


def _sums_at(row: Balance, at: datetime) -> tuple[int, int, int]:
    for version, *sums in _rows(SUMS_AT, {"account_id": row.account_id, "at": at}):
        return version, *_on_normal_side(row, *map(int, sums))
    return 0, 0, 0


def _sums_effective(row: Balance, effective_at: datetime, version: int) -> tuple[int, int]:
    asked = {"account_id": row.account_id, "effective_at": effective_at, "newest": version}
    (found,) = _rows(SUMS_EFFECTIVE, asked)
    return _on_normal_side(row, *map(int, found))


def _on_normal_side(row: Balance, posted: int, pending: int, pending_debits: int) -> tuple[int, int]:
    """Return what is booked, and what holds may still take away: pending debits, or credits."""
    return row.sign * posted, pending_debits if row.sign < 0 else pending_debits - pending


def _rows(query: str, parameters: dict[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())
