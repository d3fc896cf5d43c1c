"""Rows that somebody else has locked, and who waits for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from django.db import connections

from tests.ledger.hostile import connect


def in_thread(work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        connections.close_all()


def waiting_for_locks() -> int:
    with connect("app") as app:
        found = app.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()
    return found[0] if found else 0


def lock_modes() -> set[str]:
    """Return the modes of the locks that this database's sessions hold or wait for."""
    with connect("app") as app:
        found = app.execute(
            "SELECT mode FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database()"
        ).fetchall()
    return {mode for (mode,) in found}


def killed(statement: str) -> bool:
    """Tell whether there was a session that waits within such a statement; it is ended."""
    with connect("app") as session:
        found = session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock' AND position(%s IN query) > 0 AND pid <> pg_backend_pid()",
            [statement],
        )
        return bool(found.fetchall())


def locked(account: Any) -> psycopg.Connection:
    """Return a connection that holds the lock of an account's balance until it is closed."""
    holder = connect("app")
    holder.execute("BEGIN")
    holder.execute(
        "SELECT 1 FROM ledger_balance WHERE account_id = (SELECT id FROM ledger_account WHERE public_id = %s) "
        "FOR NO KEY UPDATE",
        [account.id],
    )
    return holder
