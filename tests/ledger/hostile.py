"""What an attacker with a database password writes: statements, and the books they are aimed at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from tests.apart import DATABASE
from tests.conftest import owner_connection
from tests.people import Tenant

DENIED = psycopg.errors.InsufficientPrivilege.sqlstate
CHECKED = psycopg.errors.CheckViolation.sqlstate
NOT_NOW = psycopg.errors.ObjectNotInPrerequisiteState.sqlstate
TAKEN = psycopg.errors.UniqueViolation.sqlstate

# So the ids of journals begin that attackers book.
BY_HAND = "01a00000-0000-7000-9000"
OF_CLIENT = "client_id = ANY(%(clients)s)"
OF_ACCOUNT = "account_id IN (SELECT id FROM ledger_account WHERE client_id = ANY(%(clients)s))"
OF_TRANSACTION = "transaction_id IN (SELECT id FROM ledger_transaction WHERE client_id = ANY(%(clients)s))"
TABLES = {
    "ledger_account": OF_CLIENT,
    "ledger_transaction": OF_CLIENT,
    "ledger_journal": OF_CLIENT,
    "clients_auditentry": OF_CLIENT,
    "events_outboxevent": f"id > %(events_after)s AND {OF_CLIENT}",  # found by the index that there is
    "ledger_balance": OF_ACCOUNT,
    "ledger_entry": OF_ACCOUNT,
    "ledger_timeshift": OF_ACCOUNT,
    "ledger_shiftspan": OF_ACCOUNT,
    "ledger_shiftsum": OF_ACCOUNT,
    "ledger_transactionevent": OF_TRANSACTION,
}
SUMS = "SELECT posted_debits, posted_credits, pending_debits, pending_credits, version FROM ledger_balance"


def connect(user: str) -> psycopg.Connection:
    """Connect to the test database as one of its roles, with nothing of Django between."""
    variables = {"app": "DATABASE_URL", "owner": "MIGRATE_DATABASE_URL", "readonly": "READONLY_DATABASE_URL"}
    return psycopg.connect(os.environ[variables[user]], autocommit=True)


@dataclass
class Books:
    """Two banks, the names of their rows for statements, and everything that is written down of them.

    alice holds 70.00 (version 2), bob 30.00 (version 1); one transaction is completed, one failed.
    """

    bank: Tenant
    stranger: Tenant
    names: dict[str, Any]
    owner: psycopg.Connection
    events_after: int

    @classmethod
    def opened(cls) -> Books:
        owner = owner_connection(DATABASE)
        events_after = owner.execute("SELECT coalesce(max(id), 0) FROM events_outboxevent").fetchall()[0][0]
        bank, stranger = Tenant.new(), Tenant.new()
        alice, bob, mallory = bank.person("alice", "100.00"), bank.person("bob"), stranger.person("mallory", "100.00")
        euro = bank.open("users:alice:EUR", currency="EUR")
        done = bank.move(alice.path, bob.path, "30.00").transaction
        failed = bank.move(bob.path, alice.path, "99.00").transaction
        ids: dict[Any, int] = dict(owner.execute("SELECT public_id, id FROM ledger_account").fetchall())
        journal = owner.execute("SELECT id FROM ledger_journal WHERE transaction_id = %s", [done.id]).fetchall()
        accounts = {"alice": alice, "bob": bob, "mallory": mallory, "euro": euro}
        names: dict[str, Any] = {name: ids[account.id] for name, account in accounts.items()}
        names |= {"client": bank.client.pk, "other": stranger.client.pk, "done": done.id, "failed": failed.id}
        month = done.created_at[:7].replace("-", "")
        names |= {"journal": journal[0][0], "partition": f"events_outboxevent_{month}"}
        return cls(bank, stranger, names, owner, events_after)

    def everything(self) -> list[Any]:
        """Return every row of both clients, and how many rows the tables hold."""
        rows = [f"SELECT '{table}', t::text FROM {table} t WHERE {scope}" for table, scope in TABLES.items()]
        counts = [f"SELECT '{table}', count(*)::text FROM {table}" for table in TABLES]
        query = " UNION ALL ".join(rows + counts) + " ORDER BY 1, 2"
        clients = [self.bank.client.pk, self.stranger.client.pk]
        return self.owner.execute(query, {"clients": clients, "events_after": self.events_after}).fetchall()

    def sums(self, app: psycopg.Connection) -> dict[str, list[int]]:
        """Return debits, credits, held debits, held credits and version, as `app`'s transaction sees them."""
        return {
            name: [int(value) for row in app.execute(f"{SUMS} WHERE account_id = {self.names[name]}") for value in row]
            for name in ("alice", "bob")
        }

    def written(self, sql: str, number: int = 1) -> str:
        """Return a statement with the names of rows in their places, for the intent of this number."""
        new = {"intent": f"01a00000-0000-7000-8000-{number:012}", "new": f"{BY_HAND}-{number:012}"}
        return sql.format(**self.names, **new)


@contextmanager
def refused(books: Books, sqlstate: str | None, user: str = "app") -> Iterator[psycopg.Connection]:
    """Open a transaction that must end in `sqlstate` and leave every row as it was."""
    before = books.everything()
    with connect(user) as connection:
        connection.execute("BEGIN")
        with pytest.raises(psycopg.Error) as caught:
            yield connection
        assert caught.value.sqlstate == sqlstate, caught.value
        connection.execute("COMMIT")
    assert books.everything() == before


# A new intent of 10.00 from alice to bob, so that what is refused is a booking and not its transaction.
INTENT = """
INSERT INTO ledger_transaction (id, client_id, receipt_code, type, status, error_code, amount_minor, currency_id,
    debit_account_id, credit_account_id, metadata, effective_at, created_at, expires_at, booked_minor, reversed_minor)
VALUES ('{intent}', {client}, 'RCP-hostile', 'transfer', 'processing', NULL, 1000, 'USD', {alice}, {bob}, '{{}}',
    now(), now(), now(), 0, 0);
"""

Line = dict[str, Any]


def line(number: int, account: str, amount: int, version: int, after: int, **more: Any) -> Line:
    """Return one line of the new journal, debits positive; values are SQL."""
    fields: Line = {"line": number, "account_id": f"{{{account}}}", "amount_minor": amount, "account_version": version}
    fields |= {"posted_after": after, "pending_after": 0, "pending_debits_after": 0, "layer": "'posted'"}
    return fields | {"currency_id": "'USD'", "journal_id": "'{new}'::uuid", "posted_at": "now()"} | more


# What the engine would write for the intent.
RIGHT = (line(1, "alice", 1000, 3, -6000), line(2, "bob", -1000, 2, -4000))


def right(*, of: int | None = None, **fields: Any) -> tuple[Line, ...]:
    """Return the right lines with both of them changed, or the one of this index."""
    return tuple(one | fields if of in (None, index) else one for index, one in enumerate(RIGHT))


def held(amount: int) -> tuple[Line, Line]:
    """Return two lines that hold money, or with a negative amount release it."""
    return (
        line(1, "alice", amount, 3, -7000, layer="'held'", pending_after=amount, pending_debits_after=amount),
        line(2, "bob", -amount, 2, -3000, layer="'held'", pending_after=-amount),
    )


def lines_sql(*lines: Line) -> str:
    values = ", ".join("(" + ", ".join(str(value) for value in one.values()) + ")" for one in lines)
    return f"INSERT INTO ledger_entry ({', '.join(lines[0])}) VALUES {values}"


def booking(*lines: Line, **journal: Any) -> str:
    """Return one statement that writes a journal of the intent and its lines."""
    fields: Line = {"id": "'{new}'::uuid", "client_id": "{client}", "transaction_id": "'{intent}'::uuid"}
    fields |= {"external_ref": "'RCP-hostile'", "kind": "'post'", "entry_count": 2}
    fields |= {"effective_at": "now()", "posted_at": "now()"} | journal
    head = f"INSERT INTO ledger_journal ({', '.join(fields)}) SELECT {', '.join(map(str, fields.values()))}"
    return f"WITH journal AS ({head}) {lines_sql(*lines)}" if lines else head
