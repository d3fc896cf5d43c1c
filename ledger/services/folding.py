"""Fold time shifts: sum them up ahead, so that a balance by effective time costs the same whatever is back-dated."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from config.runtime import metrics, stopping
from config.runtime.database import raw_cursor
from config.runtime.sql import sql_file
from ledger.locks import ROW_BY_ROW

# Time shifts of a span: an account that has fewer has none, and a balance looks at fewer one by one.
SIZE = 512
# What a round does in one commit: spans it makes, and blocks of the record it looks through.
SPANS_MAX = 64
BLOCKS_MAX = 20
IS_BEHIND = "SELECT EXISTS (SELECT FROM ledger_block b, ledger_folding f WHERE b.number > f.last_block)"
LOCK = "SELECT last_block FROM ledger_folding FOR UPDATE SKIP LOCKED"
UNTIL = """
SELECT max(number)
FROM (SELECT number FROM ledger_block WHERE number > %(after)s ORDER BY number LIMIT %(blocks_max)s) next
"""
DUE_ACCOUNTS = sql_file("ledger/services", "due_accounts")
FOLD = "SELECT ledger_fold_time_shifts(%(account_id)s, %(size)s, %(spans_max)s)"
ADVANCE = "UPDATE ledger_folding SET last_block = %s"


def fold_time_shifts() -> None:
    """Fold the time shifts of what is sealed, round by round, until there are no more or the process is to stop."""
    while not stopping.stopping() and fold_round():
        pass


def fold_round(size: int = SIZE, spans_max: int = SPANS_MAX) -> bool:
    """Make the spans that the next sealed journals fill, at most `spans_max`, in one commit.

    Tell whether there were any journals: no where there is nothing new, or where another is at it.
    """
    with raw_cursor() as cursor:
        if not cursor.execute(IS_BEHIND).fetchall()[0][0]:
            return False
    with transaction.atomic(durable=True), raw_cursor() as cursor:
        state = cursor.execute(LOCK).fetchone()
        if state is None:
            return False
        asked = {"after": state[0], "blocks_max": BLOCKS_MAX}
        # Statements after the lock: they see what the round before has folded.
        until = cursor.execute(UNTIL, asked).fetchall()[0][0]
        if until is None:
            return False
        cursor.execute(ROW_BY_ROW)
        due = cursor.execute(DUE_ACCOUNTS, {"after": state[0], "until": until, "size": size}).fetchall()
        is_done = _fold_all([account_id for (account_id,) in due], size, spans_max)
        if is_done:
            cursor.execute(ADVANCE, [until])
    if is_done:
        metrics.FOLDED_BLOCK.set(until)
    return True


def fold_account(account_id: int, *, size: int = SIZE, spans_max: int = SPANS_MAX) -> int:
    """Make the spans that an account's time shifts fill, at most `spans_max`; return how many there were."""
    with raw_cursor() as cursor:
        asked = {"account_id": account_id, "size": size, "spans_max": spans_max}
        return int(cursor.execute(FOLD, asked).fetchall()[0][0])


def _fold_all(account_ids: Iterable[int], size: int, spans_max: int) -> bool:
    """Tell whether there was room for all of them."""
    for account_id in account_ids:
        spans_max -= fold_account(account_id, size=size, spans_max=spans_max)
        if spans_max == 0:
            return False
    return True
