"""The same rows through plain SQL: the engine's own statements on tables without guards, and no judging.

Nothing here refuses anything: what is left is what locking, inserting these rows and adding to the balances costs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from benchmarks.contenders.loop import ACCOUNTS, Transfer, Way, serve
from config.runtime.arrays import blobs, numbers, texts, uuids
from config.runtime.clock import now, rfc3339
from config.runtime.ids import uuid7
from config.runtime.sql import sql_file

SETTINGS = "SELECT set_config('lock_timeout', '5000', true)"
LOCK = """
SELECT account_id, version, posted_debits - posted_credits
FROM ledger_balance
WHERE account_id = ANY(%s::bigint[])
ORDER BY account_id
FOR NO KEY UPDATE
"""
STATES = """
SELECT id, status, frozen
FROM ledger_account
WHERE id = ANY(%s::bigint[]) AND (status <> 'active' OR frozen <> 'none')
"""
KNOWN_KEYS = sql_file("ledger/posting", "known_keys")
TRANSACTIONS = sql_file("ledger/posting", "write_transactions")
JOURNALS = sql_file("ledger/posting", "write_journals")
HISTORY = sql_file("ledger/posting", "write_history")
OUTBOX = """
INSERT INTO events_outboxevent (event_id, client_id, type, key, data, trace)
SELECT event_id, client_id, type, key, data, ''
FROM unnest(
    %(event_id)s::uuid[], %(client_id)s::bigint[], %(type)s::text[], %(key)s::uuid[], %(data)s::jsonb[]
) AS happened (event_id, client_id, type, key, data)
"""
BALANCES = """
UPDATE ledger_balance b
SET posted_debits = b.posted_debits + d.debits,
    posted_credits = b.posted_credits + d.credits,
    version = b.version + d.lines,
    last_posted_at = %s::timestamptz
FROM (
    SELECT account_id, count(*) AS lines, sum(greatest(amount, 0)) AS debits, sum(greatest(-amount, 0)) AS credits
    FROM unnest(%s::bigint[], %s::numeric[]) AS line (account_id, amount)
    GROUP BY account_id
) d
WHERE b.account_id = d.account_id
"""
ACCOUNTS_OF = """
SELECT a.id, a.client_id, a.public_id, a.user_id
FROM ledger_account a
WHERE a.path LIKE 'users:%'
ORDER BY a.path
"""
EVENT = "SELECT data::text FROM events_outboxevent WHERE type = 'transaction.completed' LIMIT 1"


class Wallet(NamedTuple):
    """What the rows say of an account."""

    id: int
    client_id: int
    public_id: UUID
    user_id: str


class Plain:
    """Writes transactions, journals, entries, history and outbox rows, and adds to the balances: two round trips."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._wallets = [Wallet(*row) for row in connection.execute(ACCOUNTS_OF)]
        assert len(self._wallets) == ACCOUNTS
        (self._event,) = connection.execute(EVENT).fetchall()[0]  # of the size that ours have
        connection.commit()

    def prepare(self, transfers: Sequence[Transfer]) -> dict[str, list[Any]]:
        """Return the columns that a caller knows beforehand."""
        debited = [self._wallets[one.debit] for one in transfers]
        credited = [self._wallets[one.credit] for one in transfers]
        return {
            "ids": [uuid7() for _ in transfers],
            "debits": debited,
            "credits": credited,
            "amounts": [one.amount_minor for one in transfers],
        }

    def post(self, prepared: dict[str, list[Any]]) -> None:
        ids: list[UUID] = prepared["ids"]
        touched = numbers(sorted({wallet.id for wallet in (*prepared["debits"], *prepared["credits"])}))
        clients = numbers(wallet.client_id for wallet in prepared["debits"])
        with self._connection.transaction(), self._connection.cursor() as cursor:
            with self._connection.pipeline():
                locks = self._connection.cursor()
                cursor.execute(SETTINGS)
                locks.execute(LOCK, [touched])
                cursor.execute(STATES, [touched])
                cursor.execute(KNOWN_KEYS, {"clients": clients, "keys": texts(map(str, ids))})
            posted_at = rfc3339(now())
            sums = {account: [version, int(posted)] for account, version, posted in locks}
            lines = _lines(prepared, sums)
            with self._connection.pipeline():
                cursor.execute(TRANSACTIONS, self._transactions(prepared, clients, posted_at))
                cursor.execute(JOURNALS, _journals(ids, clients, posted_at, lines))
                cursor.execute(HISTORY, _history(prepared, posted_at))
                cursor.execute(OUTBOX, self._outbox(prepared, clients))
                cursor.execute(BALANCES, [posted_at, numbers(lines["account_id"]), numbers(lines["amount"])])

    def _transactions(self, prepared: dict[str, list[Any]], clients: str, posted_at: str) -> dict[str, Any]:
        ids, size = prepared["ids"], len(prepared["ids"])
        nothing = texts([None] * size)
        return {
            "id": uuids(ids),
            "client_id": clients,
            "idempotency_key": texts(map(str, ids)),
            "request_hash": blobs([bytes(32)] * size),
            "receipt_code": texts(map(_receipt, ids)),
            "type": texts(["transfer"] * size),
            "status": texts(["completed"] * size),
            "amount_minor": numbers(prepared["amounts"]),
            "currency_id": texts(["USD"] * size),
            "debit_account_id": numbers(wallet.id for wallet in prepared["debits"]),
            "credit_account_id": numbers(wallet.id for wallet in prepared["credits"]),
            "user_id": texts(wallet.user_id for wallet in prepared["debits"]),
            "peer_user_id": texts(wallet.user_id for wallet in prepared["credits"]),
            "reference": nothing,
            "description": nothing,
            "metadata": texts(["{}"] * size),
            "error_code": nothing,
            "effective_at": texts([posted_at] * size),
            "execute_at": nothing,
            "expires_at": nothing,
            "reverses_id": nothing,
            "terms": nothing,
            "batch_id": nothing,
            "batch_index": nothing,
            "created_at": texts([posted_at] * size),
            "posted_at": posted_at,
        }

    def _outbox(self, prepared: dict[str, list[Any]], clients: str) -> dict[str, Any]:
        size = len(prepared["ids"])
        return {
            "event_id": uuids([uuid7() for _ in range(size)]),
            "client_id": clients,
            "type": texts(["transaction.completed"] * size),
            "key": uuids(wallet.public_id for wallet in prepared["debits"]),
            "data": texts([self._event] * size),
        }


def _lines(prepared: dict[str, list[Any]], sums: dict[int, list[int]]) -> dict[str, list[int]]:
    """Return the columns of the entries that the balances decide, two lines an item; `sums` are moved along."""
    columns: dict[str, list[int]] = {"account_id": [], "amount": [], "version": [], "posted_after": []}
    for debit, credit, amount in zip(prepared["debits"], prepared["credits"], prepared["amounts"], strict=True):
        for account, signed in ((debit.id, amount), (credit.id, -amount)):
            after = sums[account]
            after[0] += 1
            after[1] += signed
            for column, value in zip(columns.values(), (account, signed, *after), strict=True):
                column.append(value)
    return columns


def _journals(ids: list[UUID], clients: str, posted_at: str, lines: dict[str, list[int]]) -> dict[str, Any]:
    journal_ids = [uuid7() for _ in ids]
    return {
        "id": uuids(journal_ids),
        "client_id": clients,
        "transaction_id": uuids(ids),
        "external_ref": texts(map(_receipt, ids)),
        "kind": texts(["post"] * len(ids)),
        "entry_count": numbers([2] * len(ids)),
        "effective_at": texts([posted_at] * len(ids)),
        "posted_at": posted_at,
        "journal_id": uuids([journal_id for journal_id in journal_ids for _ in range(2)]),
        "line": numbers([1, 2] * len(ids)),
        "account_id": numbers(lines["account_id"]),
        "line_currency": texts(["USD"] * (2 * len(ids))),
        "layer": texts(["posted"] * (2 * len(ids))),
        "line_amount": numbers(lines["amount"]),
        "account_version": numbers(lines["version"]),
        "posted_after": numbers(lines["posted_after"]),
        "pending_after": numbers([0] * (2 * len(ids))),
        "pending_debits_after": numbers([0] * (2 * len(ids))),
    }


def _history(prepared: dict[str, list[Any]], posted_at: str) -> dict[str, Any]:
    size = len(prepared["ids"])
    return {
        "transaction_id": uuids(prepared["ids"]),
        "from_status": texts([None] * size),
        "to_status": texts(["completed"] * size),
        "amount_minor": numbers(prepared["amounts"]),
        "actor": texts(["key:BENCH000"] * size),
        "reason": texts([""] * size),
        "request_id": texts([""] * size),
        "posted_at": posted_at,
    }


def _receipt(identifier: UUID) -> str:
    """Return a text as long as a receipt code."""
    return f"RCP-20260101-{identifier.hex[:22].upper()}"


def main() -> None:
    options = "-c search_path=plain,public"
    with psycopg.connect(os.environ["DATABASE_URL"], options=options, prepare_threshold=2) as connection:
        plain = Plain(connection)
        serve({"plain SQL": Way(plain.prepare, plain.post, lambda _: None)})
