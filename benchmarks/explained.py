"""Runs the product's reads on the rows of many_rows.sql and explains their statements; a JSON object a line."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from benchmarks.contenders.loop import CLIENT, wallet
from config.api.pages import PageQuery, page_of
from config.runtime.clock import now
from config.runtime.ids import first_at
from ledger.clients.models import Client
from ledger.models import Account, Balance
from ledger.queries.accounts import accounts_below, accounts_of
from ledger.queries.balances import balance_at, trial_balance
from ledger.queries.transactions import entries_of, transactions_for

ROWS = 2_000_000
PAGE = PageQuery(binding="benchmark", limit=50)
SOME_DEPTHS = (0, 100_000, 1_000_000, 1_999_000)
SOME_ENTRIES = (1, 500_000, 999_999)


Cases = dict[str, Callable[[], Any]]


def main() -> None:
    repetitions = int(sys.argv[-1])
    client_id = Client.objects.get(name=CLIENT).pk
    for case, read in (_pages_at_depth(client_id) | _balances_then(client_id)).items():
        print(json.dumps({"read": case} | _explained(read, repetitions)), flush=True)


def _pages_at_depth(client_id: int) -> Cases:
    cases: Cases = {}
    for name, user in (("all transactions", None), ("a busy user's feed", "00000"), ("a quiet user's feed", "quiet")):
        for depth in SOME_DEPTHS:
            scopes = [scope.filter(id__lt=_id_at(depth)) for scope in transactions_for(client_id, user)]
            cases[f"{name}, after {depth:,}"] = _page(scopes)
    account = Account.objects.get(client_id=client_id, path=wallet(0))
    for depth in (0, 100_000, 999_000):
        entries = entries_of(account).filter(account_version__lt=1_000_001 - depth)
        cases[f"entries of an account, after {depth:,}"] = _page([entries], field="account_version")
    for depth in (0, 9_000):
        below = accounts_below(accounts_of(client_id).filter(path__gte=wallet(depth)), "users")
        cases[f"accounts of a part of the chart, after {depth:,}"] = _page(below, field="path", descending=False)
    return cases


def _balances_then(client_id: int) -> Cases:
    cases: Cases = {}
    rows = Balance.objects.select_related("account__currency")
    busy, imported, late = (rows.get(account__client=client_id, account__path=wallet(number)) for number in (0, 1, 2))
    for n in SOME_ENTRIES:
        cases[f"balance at entry {n:,} of 1,000,000"] = _balance(busy, at=_moment(n))
        cases[f"by effective time, entry {n:,}, 1 % back-dated"] = _balance(busy, effective_at=_moment(n))
        cases[f"by effective time, entry {n:,}, all back-dated"] = _balance(imported, effective_at=_moment(n))
    known_at = _moment(ROWS) + timedelta(milliseconds=500_000)
    cases["the same at entry 500,000, as known when 500,000 were booked"] = _balance(
        imported, at=known_at, effective_at=_moment(500_000)
    )
    cases["by effective time, entry 5,000 of 10,000, all back-dated, not folded"] = _balance(
        late, effective_at=_moment(5_000)
    )
    for name, at in (("now", None), ("then", _moment(1_000_000))):
        cases[f"trial balance of 10,000 accounts, {name}"] = partial(trial_balance, client_id, at, now=now())
    return cases


def _page(scopes: list[QuerySet[Any]], field: str = "id", *, descending: bool = True) -> Callable[[], Any]:
    """A cursor says where the page begins: for the database that is this very condition."""
    return partial(page_of, scopes, PAGE, field=field, descending=descending)


def _balance(row: Balance, *, at: datetime | None = None, effective_at: datetime | None = None) -> Callable[[], Any]:
    return partial(balance_at, row, at, effective_at=effective_at, now=now())


def _moment(n: int) -> datetime:
    return datetime(2025, 1, 1, tzinfo=UTC) + n * timedelta(seconds=15)


def _id_at(depth: int) -> UUID:
    """The newest rows come first: what comes after `depth` of them is older than the moment of that row."""
    return first_at(_moment(ROWS + 1 - depth))


def _explained(read: Callable[[], Any], repetitions: int) -> dict[str, Any]:
    with CaptureQueriesContext(connection) as captured:
        read()
    statements = [query["sql"] for query in captured.captured_queries]
    timed = [[_explain(statement) for statement in statements] for _ in range(repetitions)]
    return {
        "statements": len(statements),
        "execution_ms": statistics.median(sum(one["Execution Time"] for one in run) for run in timed),
        "planning_ms": statistics.median(sum(one["Planning Time"] for one in run) for run in timed),
        "pages_touched": sum(_pages(one["Plan"]) for one in timed[-1]),
    }


def _explain(statement: str) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
        (plan,) = cursor.fetchall()[0]
    found: dict[str, Any] = (plan if isinstance(plan, list) else json.loads(plan))[0]
    return found


def _pages(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
