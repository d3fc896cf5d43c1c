"""Holds whose time is over by the database's own clock, for the doors, which nobody tells the time."""

from __future__ import annotations

from tests.apart import DATABASE
from tests.conftest import owner_connection


def expired(transaction: str) -> None:
    """Let its time be over: the owner of the database may say when that was."""
    with owner_connection(DATABASE) as owner:
        owner.execute("ALTER TABLE ledger_transaction DISABLE TRIGGER transaction_moves")
        for table, column in (("ledger_transaction", "id"), ("ledger_openhold", "transaction_id")):
            owner.execute(f"UPDATE {table} SET expires_at = now() WHERE {column} = %s", [transaction])
        owner.execute("ALTER TABLE ledger_transaction ENABLE TRIGGER transaction_moves")
