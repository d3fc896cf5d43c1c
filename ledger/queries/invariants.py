"""The invariants of the books, each a query for the rows that offend; together they see one moment of the database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from config.runtime.sql import sql_file
from ledger.domain.states import MOVES
from ledger.events.types import OUTCOMES, EventType
from ledger.queries.leaves import LEAVES
from ledger.queries.proofs import HEAD

SAMPLE_SIZE = 5
_FOLDER = "ledger/queries"
_PARAMETERS: dict[str, Any] = {
    "moves": [f"{before}>{after}" for before, afters in MOVES.items() for after in afters],
    "outcomes": [outcome.value for outcome in (*OUTCOMES.values(), EventType.TRANSACTION_CAPTURED)],
    "account_opened": EventType.ACCOUNT_OPENED.value,
    "sample_size": SAMPLE_SIZE,
}
# One snapshot for all checks: what is booked meanwhile is seen by all of them or by none. A million rows may take
# their time, and sort in memory.
_SETTINGS = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "SET LOCAL statement_timeout = '1h'",
    "SET LOCAL work_mem = '128MB'",
)


class Head(NamedTuple):
    """A block of the record, the last one or the last of some time, and its hash in hexadecimal."""

    number: int
    hash: str


@dataclass(frozen=True, slots=True)
class Check:
    """`name` is also that of the file under sql/invariants; `meaning` says what holds."""

    name: str
    meaning: str


CHECKS = (
    Check("journals_balanced", "each journal sums to zero per currency and layer"),
    Check("journals_complete", "each journal has exactly its lines"),
    Check("journals_of_transactions", "each journal is of its client's transaction and names its receipt"),
    Check("entries_at_home", "each line is on an account of its client and currency, at its journal's time"),
    Check("trial_balance", "each client's books sum to zero per currency and layer"),
    Check("balances_folded", "each balance is the sum of its account's lines"),
    Check("versions_chained", "each account's lines follow one another without a gap"),
    Check("limits_respected", "no balance is beyond its floor or ceiling, holds included"),
    Check("closed_accounts_empty", "no closed account holds money or holds"),
    Check("time_shifts_kept", "each line that took effect at another time than it was booked is known as such"),
    Check("time_shifts_folded", "what time shifts are summed up to is their sum"),
    Check("pending_held", "pending sums are what open holds hold"),
    Check("holds_resolved_within", "no hold is captured or released beyond its amount"),
    Check("history_ends_in_status", "the last history event is the status"),
    Check("history_moves_allowed", "each history is a chain of allowed moves"),
    Check("transactions_booked", "completed transactions have their one post, failed ones none"),
    Check("terms_told", "what was agreed of a transaction is of its accounts and amount, and balances"),
    Check("sums_booked", "what a transaction says is booked and taken back of it, is"),
    Check("reversals_of_transactions", "each reversal leads back between the accounts of its original"),
    Check("holds_open", "what is pending is an open hold, and nothing else is"),
    Check("queue_complete", "what is processing waits in the queue, and nothing else does"),
    Check("batches_counted", "each batch has its items, and waits for those that have no outcome"),
    Check("receipts_of_ids", "each receipt code is that of its transaction's id"),
    Check("outbox_outcomes", "each outcome has its one outbox row"),
    Check("outbox_accounts", "each account and each change of one has its one outbox row"),
    Check("positions_told", "each event that was looked for has its one position, those of a key in their order"),
    Check("journals_sealed", "each journal is in a block once the sealer has come past its events"),
    Check("leaves_kept", "each sealed journal, its lines and what was asked for are what was sealed"),
    Check("blocks_rooted", "each block is the Merkle root of its journals"),
    Check("blocks_chained", "each block's hash is that of what it says, and each names the one before"),
    Check("head_noted", "the block that was noted elsewhere, if one is named, has the hash that was noted"),
    Check("guards_in_place", "the guard triggers stand and are enabled"),
    Check("constraints_in_place", "the constraints of the books stand"),
    Check("privileges_narrow", "roles app and readonly cannot change what is booked"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: offences by the name of their client ("" for what is nobody's), and some of the rows."""

    check: Check
    clients: dict[str, int]
    sample: list[dict[str, Any]]

    @property
    def offences(self) -> int:
        """How many rows offend."""
        return sum(self.clients.values())


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found, how much was looked at, and the number and hash of the record's last block, if there is one."""

    findings: list[Finding]
    clients: int
    transactions: int
    entries: int
    head: Head | None

    @property
    def holds(self) -> bool:
        """Whether no check found anything."""
        return all(finding.offences == 0 for finding in self.findings)


def verify(*, client_id: int | None = None, noted: Head | None = None) -> Verification:
    """Run every check on the whole ledger, or report on one client of it. Reads only, as any role that may SELECT.

    `noted` is a head of the record that was kept where nobody who may change the database could change it.

    Must not be called inside a database transaction.
    """
    number, block_hash = noted or (None, None)
    asked: dict[str, Any] = {"client_id": client_id, "noted_number": number, "noted_hash": block_hash}
    with _snapshot() as cursor:
        findings = [_run(cursor, check, asked) for check in CHECKS]
        cursor.execute(sql_file(_FOLDER, "invariants/totals"), asked)
        clients, transactions, entries = cursor.fetchone()
        cursor.execute(HEAD)
        head = cursor.fetchone()
    return Verification(findings, clients, transactions, entries, None if head is None else Head(*head))


@contextmanager
def _snapshot() -> Iterator[CursorWrapper]:
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        for setting in _SETTINGS:
            cursor.execute(setting)
        yield cursor


def _run(cursor: CursorWrapper, check: Check, asked: dict[str, Any]) -> Finding:
    rows_that_offend = sql_file(_FOLDER, f"invariants/{check.name}").replace("{leaves}", LEAVES)
    query = sql_file(_FOLDER, "invariants/offences_by_client").replace("{check}", rows_that_offend, 1)
    cursor.execute(query, _PARAMETERS | asked)
    rows = cursor.fetchall()
    sample = [row for _, _, rows_of_client in rows for row in json.loads(rows_of_client)]
    return Finding(check, {name or "": count for name, count, _ in rows}, sample[:SAMPLE_SIZE])
