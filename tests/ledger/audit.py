"""The audit of a client's books: read row by row and added up here, with nothing of the ledger's own code."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID

from tests.apart import DATABASE
from tests.conftest import owner_connection

DEBIT_NORMAL = {"asset", "expense"}
LAYERS = ("posted", "held")
ENDS = {"capture", "void", "expire"}

TRANSACTIONS = """
SELECT t.id, t.status, t.amount_minor, t.debit_account_id, t.credit_account_id, t.terms -> 'legs', t.booked_minor,
    t.reversed_minor, t.version, t.reverses_id,
    (SELECT array_agg(h.to_status ORDER BY h.id) FROM ledger_transactionevent h WHERE h.transaction_id = t.id)
FROM ledger_transaction t WHERE t.client_id = %s
"""
# Looked through once for all: the index on transactions leaves captures out.
JOURNALS = "SELECT transaction_id, array_agg(id) FROM ledger_journal WHERE transaction_id = ANY(%s) GROUP BY 1"
LINES = """
SELECT j.id, j.kind, j.entry_count, j.client_id, j.posted_at, a.client_id, a.currency_id = e.currency_id,
    e.line, e.account_id, e.currency_id, e.amount_minor, e.account_version, e.posted_after, e.pending_after,
    e.pending_debits_after, e.posted_at, e.layer
FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id LEFT JOIN ledger_journal j ON j.id = e.journal_id
WHERE a.client_id = %s ORDER BY e.account_id, e.account_version
"""
BALANCES = """
SELECT b.account_id, a.kind, b.posted_debits, b.posted_credits, b.pending_debits, b.pending_credits, b.floor, b.ceiling,
    b.version
FROM ledger_balance b JOIN ledger_account a ON a.id = b.account_id WHERE a.client_id = %s
"""
OUTBOX = "SELECT type, data::jsonb->>'id' FROM events_outboxevent WHERE client_id = %s AND type LIKE 'transaction.%%'"


class _Transaction(NamedTuple):
    id: UUID
    status: str
    amount: int
    debit_id: int | None
    credit_id: int | None
    legs: list[tuple[int, str]] | None
    booked: int
    reversed: int
    version: int
    reverses: UUID | None
    history: list[str] | None

    def portion(self, minor: int) -> Counter[int]:
        """Return what so much of it comes to, by account."""
        if self.legs is None:
            return _folded([(self.debit_id, minor), (self.credit_id, -minor)])
        assert minor in {0, self.amount}
        return _folded((account_id, int(leg) if minor else 0) for account_id, leg in self.legs)


class _Line(NamedTuple):
    journal_id: UUID
    journal: str
    entry_count: int
    client_id: int
    journal_at: Any
    of_client_id: int
    is_at_home: bool
    number: int
    account_id: int
    currency: str
    amount: int
    version: int
    posted_after: int
    pending_after: int
    pending_debits_after: int
    posted_at: Any
    layer: str


def offences(client_id: int) -> list[str]:
    """Return what is wrong with a client's books: nothing, one hopes."""
    with owner_connection(DATABASE) as owner:
        owner.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        found, entries, balances, outbox = (
            owner.execute(query, [client_id]).fetchall() for query in (TRANSACTIONS, LINES, BALANCES, OUTBOX)
        )
        transactions, lines = [_Transaction(*row) for row in found], [_Line(*row) for row in entries]
        made: dict[UUID, list[UUID]] = dict(owner.execute(JOURNALS, [[one.id for one in transactions]]).fetchall())
    journals = defaultdict[UUID, list[_Line]](list)
    for line in lines:
        journals[line.journal_id].append(line)
    return [
        *(offence for rows in journals.values() for offence in _of_journal(client_id, rows)),
        *_of_bookings(transactions, {one: [journals[journal_id] for journal_id in ids] for one, ids in made.items()}),
        *_of_accounts(lines, balances),
        *_of_outcomes(transactions, outbox),
    ]


def _of_journal(client_id: int, rows: list[_Line]) -> list[str]:
    found, name = [], f"journal {rows[0].journal_id}"
    if {(row.client_id, row.of_client_id, row.is_at_home) for row in rows} != {(client_id, client_id, True)}:
        found.append(f"{name} is not all of this client, in its accounts' currencies")
    if any(_folded(((row.currency, row.layer), row.amount) for row in rows).values()):
        found.append(f"{name} does not sum to zero in each currency and layer")
    if sorted(row.number for row in rows) != list(range(1, rows[0].entry_count + 1)):
        found.append(f"{name} is not complete")
    if any(row.posted_at != row.journal_at for row in rows):
        found.append(f"{name} has lines of another time")
    return found


def _of_bookings(transactions: list[_Transaction], made: dict[UUID, list[list[_Line]]]) -> list[str]:
    """Return what is not booked, held or taken back of a transaction as it says."""
    found, taken_back = [], Counter[UUID]()
    for one in transactions:
        lines = [line for rows in made.get(one.id, ()) for line in rows]
        booked = {
            layer: _folded((row.account_id, row.amount) for row in lines if row.layer == layer) for layer in LAYERS
        }
        held = one.amount - one.booked if one.status == "pending" else 0
        if booked["posted"] != one.portion(one.booked) or booked["held"] != one.portion(held):
            found.append(f"transaction {one.id} ({one.status}) is booked as {booked}")
        if one.reverses is not None and one.status == "completed":
            taken_back[one.reverses] += one.amount
    wrong = [one for one in transactions if one.reversed != taken_back[one.id] or one.reversed > one.booked]
    return found + [f"of transaction {one.id} {one.reversed} were taken back: {taken_back[one.id]}" for one in wrong]


def _of_accounts(lines: list[_Line], balances: list[Any]) -> list[str]:
    accounts = defaultdict[int, list[_Line]](list)
    for line in lines:
        accounts[line.account_id].append(line)
    found = []
    for account_id, kind, *sums, floor, ceiling, version in balances:
        rows, name = accounts[account_id], f"account {account_id}"
        if sums != _sums(rows):
            found.append(f"{name} has {sums}; its lines say {_sums(rows)}")
        if [row.version for row in rows] != list(range(1, version + 1)):
            found.append(f"{name} has gaps in its versions")
        after = [0, 0, 0, 0]
        for row in rows:
            _add(after, row)
            debits, credits_, held_debits, held_credits = after
            shown = (row.posted_after, row.pending_after, row.pending_debits_after)
            if shown != (debits - credits_, held_debits - held_credits, held_debits):
                found.append(f"{name} runs wrong at version {row.version}")
        if any(later.posted_at < earlier.posted_at for earlier, later in pairwise(rows)):
            found.append(f"{name} goes back in time")
        debits, credits_, held_debits, held_credits = sums
        balance = debits - credits_
        lowest, highest = (
            (balance - held_credits, balance + held_debits)
            if kind in DEBIT_NORMAL
            else (-balance - held_debits, -balance + held_credits)
        )
        if (floor is not None and lowest < floor) or (ceiling is not None and highest > ceiling):
            found.append(f"{name} is beyond its limits, at {lowest} to {highest}")
    return found


def _sums(rows: list[_Line]) -> list[int]:
    sums = [0, 0, 0, 0]
    for row in rows:
        _add(sums, row)
    return sums


def _add(sums: list[int], row: _Line) -> None:
    """Add to posted and pending debits and credits; what ends a hold takes it off the side on which it was held."""
    is_credit, is_end = row.amount < 0, row.layer == "held" and row.journal in ENDS
    sums[2 * (row.layer == "held") + (is_credit is not is_end)] += -abs(row.amount) if is_end else abs(row.amount)


def _of_outcomes(transactions: list[_Transaction], outbox: list[Any]) -> list[str]:
    told = Counter(outbox)
    meant = Counter(
        (f"transaction.{_event(before, status)}", str(one.id))
        for one in transactions
        for before, status in pairwise([None, *(one.history or [])])
        if status != "processing"
    )
    wrong = [f"transaction {one.id} is {one.status} after {one.history}" for one in transactions if not _is_last(one)]
    return wrong + [f"told {told - meant}, not told {meant - told}"] * (told != meant)


def _event(before: str | None, status: str | None) -> str | None:
    return "captured" if (before, status) == ("pending", "pending") else status


def _is_last(one: _Transaction) -> bool:
    return (one.history or [])[-1:] == [one.status]


def _folded(parts: Iterable[tuple[Any, int]]) -> Counter[Any]:
    """Return the sums by account or whatever stands first, without those that are nothing."""
    sums = Counter[Any]()
    for which, amount in parts:
        sums[which] += int(amount)
    return Counter({which: amount for which, amount in sums.items() if amount})
