"""The only place that locks: idempotency keys first, then balances in the order of their accounts.

Call inside a database transaction.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from config.runtime.arrays import numbers
from config.runtime.database import raw_cursor
from config.runtime.logging import get_logger
from ledger.domain.balances import Sums

# The order makes two rounds that share accounts wait for one another instead of dead-locking.
LOCK_BALANCES = """
SELECT account_id, sign, posted_debits, posted_credits, pending_debits, pending_credits, floor, ceiling, version,
    last_posted_at
FROM ledger_balance
WHERE account_id = ANY(%s::bigint[])
ORDER BY account_id
FOR NO KEY UPDATE
"""
READ_BALANCES = """
SELECT b.account_id, b.sign, b.posted_debits, b.posted_credits, b.pending_debits, b.pending_credits, b.floor, b.ceiling,
    b.version, b.last_posted_at, a.status, a.frozen
FROM ledger_balance b
JOIN ledger_account a ON a.id = b.account_id
WHERE b.account_id = ANY(%s::bigint[])
"""

# Shared, so that readers do not wait for one another. The time may be that from before a wait, which is as good.
SETTLED_AT = "SELECT clock_timestamp() FROM ledger_balance WHERE account_id = %s FOR SHARE"

PATIENCE_S_MAX = 5.0
# So soon a session that waits for a lock ends when its process has died, with all that it has locked.
GONE_AFTER_MS = 500


def patience(seconds: float) -> str:
    """Return the statement that ends every wait for a lock after so long, in tenths of a second up to five seconds.

    What waits longer is refused and may be repeated; a client that vanishes in the middle of a round gives its locks
    back, also where its session waits for one: the server asks meanwhile whether anybody is there.
    """
    tenths = max(1, round(10 * min(seconds, PATIENCE_S_MAX)))  # few texts: each is prepared
    return (
        f"SELECT set_config('lock_timeout', '{tenths}00ms', true),"
        " set_config('idle_in_transaction_session_timeout', '10s', true),"
        f" set_config('client_connection_check_interval', '{GONE_AFTER_MS}ms', true)"
    )


SET_LOCK_TIMEOUT = patience(PATIENCE_S_MAX)
# A poster can come again, and while it waits for one account it keeps those it has from everybody else. So does who has
# a bucket of keys alone.
ROUND_PATIENCE, ALONE_PATIENCE = patience(1), patience(0.2)

# A statement of its own, after the locks: one that waited for a lock would still show the state from before its wait.
NOT_PLAIN_ACTIVE = """
SELECT id, status, frozen
FROM ledger_account
WHERE id = ANY(%s::bigint[]) AND (status <> 'active' OR frozen <> 'none')
"""

# Keys of transactions and of other operations stand in two tables, and an index sees one table only. So whoever takes
# keys of transactions shares their buckets, and whoever takes a key for another operation has its bucket alone.
# Buckets, since a lock a key would fill the server's table of locks: forty batches of 1,000 keys at once must find room
# in it. Many, since who has one alone keeps others waiting. (The number says "keys" in ASCII.)
KEY_BUCKETS = 256
LOCK_KEYS = """
SELECT CASE
    WHEN alone THEN pg_advisory_xact_lock(1801812339, bucket)
    ELSE pg_advisory_xact_lock_shared(1801812339, bucket)
END
FROM unnest(%s::integer[], %s::boolean[]) AS asked (bucket, alone)
"""

# Plans are made once a connection and serve rounds of 1 and of 500, on tables that were small when they were made: row
# by row through the primary keys is right for every size, a join that scans is not.
# A poster that is frozen, or cut off, gives its lane back.
ROW_BY_ROW = """
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true), set_config('idle_in_transaction_session_timeout', '10s', true)
"""
# (The number says "lane" in ASCII.)
TRY_LANE = "SELECT pg_try_advisory_xact_lock(1818324581, %s)"

# Sessions that hold what others wait for, and have themselves waited for their process for a while. The server's own
# clock for idle transactions stands still within a pipeline, and after one behind whose Sync psycopg has sent a Flush.
FROZEN_FOR_S = 10.0
END_FROZEN = """
WITH frozen AS MATERIALIZED (
    SELECT a.pid
    FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.usename = current_user AND a.xact_start IS NOT NULL
        AND a.wait_event = 'ClientRead' AND a.state_change < clock_timestamp() - make_interval(secs => %s)
        AND EXISTS (
            SELECT FROM pg_locks l
            WHERE l.pid = a.pid AND l.granted
                AND (l.locktype = 'advisory' OR (l.relation = 'ledger_balance'::regclass AND l.mode = 'RowShareLock'))
        )
)
SELECT pid, pg_terminate_backend(pid)
FROM frozen
"""

log = get_logger()

Cursor = psycopg.Cursor[Any]
Key = tuple[int, str]


def ask_for_keys(cursor: Cursor, *, shared: Iterable[Key], alone: Iterable[Key] = ()) -> None:
    """Lock idempotency keys, each a client with a key, in one order: of transactions `shared`, of others `alone`."""
    exclusive = {_bucket(key) for key in alone}
    buckets = sorted(exclusive | {_bucket(key) for key in shared})
    if buckets:
        cursor.execute(LOCK_KEYS, [numbers(buckets), numbers(int(bucket in exclusive) for bucket in buckets)])


def lock_key(key: Key) -> None:
    """Lock the idempotency key of an operation that makes something else than a transaction."""
    with raw_cursor() as cursor:
        ask_for_keys(cursor, shared=(), alone=[key])


def try_lane(cursor: Cursor, lane: int) -> bool:
    """Lock a lane of the posting queue until the end of the database transaction, unless another poster has it."""
    cursor.execute(ROW_BY_ROW)
    cursor.execute(TRY_LANE, [lane])
    return bool(cursor.fetchall()[0][0])


def end_frozen_sessions(frozen_for_s: float = FROZEN_FOR_S) -> None:
    """Take keys, balances and lanes back from processes that are frozen: the server rolls back what they were at."""
    with raw_cursor() as cursor:
        for backend, is_ended in cursor.execute(END_FROZEN, [frozen_for_s]):
            log.warning("locks.taken_back", backend=backend, is_ended=is_ended)


def _bucket(key: Key) -> int:
    return zlib.crc32(f"{key[0]}:{key[1]}".encode()) % KEY_BUCKETS


def ask_for_balances(locks: Cursor, states: Cursor, account_ids: Iterable[int]) -> None:
    """Send the locking statements, in a pipeline if there is one; `locked_balances` reads their answers."""
    ordered = numbers(sorted(account_ids))
    locks.execute(LOCK_BALANCES, [ordered])
    states.execute(NOT_PLAIN_ACTIVE, [ordered])


def ask_about_balances(cursor: Cursor, account_ids: Iterable[int]) -> None:
    """Ask for the same without locking, in a pipeline if there is one; `read_balances` reads what stood then."""
    cursor.execute(READ_BALANCES, [numbers(sorted(account_ids))])


def read_balances(cursor: Cursor) -> dict[int, Sums]:
    """Return the sums by account id, with the states of the accounts."""
    found: dict[int, Sums] = {}
    for *row, status, frozen in cursor.fetchall():
        sums = found[row[0]] = _sums(*row)
        sums.status, sums.frozen = status, frozen
    return found


def locked_balances(locks: Cursor, states: Cursor) -> dict[int, Sums]:
    """Return the locked sums by account id."""
    sums = {row[0]: _sums(*row) for row in locks.fetchall()}
    for account_id, status, frozen in states.fetchall():
        sums[account_id].status, sums[account_id].frozen = status, frozen
    return sums


def _sums(  # noqa: PLR0917  (one row, column by column)
    account_id: int,
    sign: int,
    posted_debits: Decimal,
    posted_credits: Decimal,
    pending_debits: Decimal,
    pending_credits: Decimal,
    floor: Decimal | None,
    ceiling: Decimal | None,
    version: int,
    last_posted_at: datetime | None,
) -> Sums:
    return Sums(
        account_id=account_id,
        sign=sign,
        posted_debits=int(posted_debits),
        posted_credits=int(posted_credits),
        pending_debits=int(pending_debits),
        pending_credits=int(pending_credits),
        floor=None if floor is None else int(floor),
        ceiling=None if ceiling is None else int(ceiling),
        version=version,
        last_posted_at=last_posted_at,
    )


def free_balances(account_ids: Iterable[int]) -> set[int]:
    """Return those accounts whose balances nobody else has locked, without waiting for any."""
    with raw_cursor() as cursor:
        cursor.execute(f"{LOCK_BALANCES} SKIP LOCKED", [numbers(sorted(set(account_ids)))])
        return {row[0] for row in cursor}


def bound_waits() -> None:
    """End every wait for a lock of this database transaction after five seconds."""
    with raw_cursor() as cursor:
        cursor.execute(SET_LOCK_TIMEOUT)


def lock_balance(account_id: int) -> None:
    """Lock one account, so that no posting runs between reading and changing its state."""
    with raw_cursor() as cursor:
        cursor.execute(LOCK_BALANCES, [numbers([account_id])])


def settled_at(account_id: int) -> datetime:
    """Return the present, once whoever was booking on an account has ended: what comes is booked at a later time."""
    bound_waits()
    with raw_cursor() as cursor:
        settled: datetime = cursor.execute(SETTLED_AT, [account_id]).fetchall()[0][0]
    return settled
