"""A ledger in plain Python that predicts the real one, and the audit of a client's books. Neither uses its code."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from uuid import UUID

from tests.apart import DATABASE
from tests.conftest import owner_connection

DEBIT_NORMAL = {"asset", "expense"}
DECIMALS = {"USD": 2, "JPY": 0}


def amount_text(minor: int, currency: str) -> str:
    """Return minor units as an API writes them."""
    whole, rest = divmod(minor, 10 ** DECIMALS[currency])
    return f"{whole}.{rest:0{DECIMALS[currency]}}" if DECIMALS[currency] else str(whole)


@dataclass
class Box:
    """One account: what went in on each side, and what it refuses.

    What changes it answers "changed", or why not.
    """

    kind: str
    currency: str = "USD"
    floor: int | None = None
    ceiling: int | None = None
    frozen: set[str] = field(default_factory=set)
    is_closed: bool = False
    debits: int = 0
    credits: int = 0
    bookings: int = 0

    @property
    def balance(self) -> int:
        difference = self.debits - self.credits
        return difference if self.kind in DEBIT_NORMAL else -difference

    def objection(self, side: str, amount: int) -> str | None:
        if self.is_closed:
            return "account_closed"
        if f"{side}s" in self.frozen:
            return "account_frozen"
        rises = (side == "debit") == (self.kind in DEBIT_NORMAL)
        after = self.balance + amount if rises else self.balance - amount
        if rises and self.ceiling is not None and after > self.ceiling:
            return "ceiling_exceeded"
        if not rises and self.floor is not None and after < self.floor:
            return "insufficient_funds"
        return None

    def freeze(self, sides: set[str]) -> str:
        if self.is_closed or sides <= self.frozen:
            return "account_closed" if self.is_closed else "account_already_frozen"
        self.frozen |= sides
        return "changed"

    def unfreeze(self, sides: set[str]) -> str:
        if self.is_closed or not sides & self.frozen:
            return "account_closed" if self.is_closed else "account_not_frozen"
        self.frozen -= sides
        return "changed"

    def close(self) -> str:
        if self.is_closed or self.balance:
            return "account_already_closed" if self.is_closed else "account_not_empty"
        self.is_closed = True
        return "changed"

    def reopen(self) -> str:
        if not self.is_closed:
            return "account_already_open"
        self.is_closed = False
        return "changed"

    def limit(self, floor: int | None, ceiling: int | None) -> str:
        if self.is_closed:
            return "account_closed"
        if floor is not None and floor > self.balance:
            return "floor_above_available"
        if ceiling is not None and ceiling < self.balance:
            return "ceiling_below_balance"
        if (self.floor, self.ceiling) == (floor, ceiling):
            return "limits_unchanged"
        self.floor, self.ceiling = floor, ceiling
        return "changed"


@dataclass(frozen=True)
class Ask:
    """One transfer: accounts by path, the amount in minor units, and what names the request."""

    debit: str
    credit: str
    amount: int
    key: str

    @property
    def body(self) -> tuple[str, str, int]:
        return self.debit, self.credit, self.amount


@dataclass
class Reference:
    """The boxes of one client by path, and what each key was used for."""

    boxes: dict[str, Box] = field(default_factory=dict)
    keys: dict[str, tuple[Any, str]] = field(default_factory=dict)

    def submit(self, ask: Ask) -> tuple[str, bool]:
        """Return the outcome, and whether it is a replay."""
        debit, credit = self.boxes[ask.debit], self.boxes[ask.credit]
        if debit is credit:
            return "same_account", False
        if debit.currency != credit.currency:
            return "currency_mismatch", False
        if ask.key in self.keys:
            body, outcome = self.keys[ask.key]
            return (outcome, True) if body == ask.body else ("idempotency_key_reused", False)
        outcome = debit.objection("debit", ask.amount) or credit.objection("credit", ask.amount) or "completed"
        if outcome == "completed":
            debit.debits += ask.amount
            credit.credits += ask.amount
            debit.bookings += 1
            credit.bookings += 1
        self.keys[ask.key] = ask.body, outcome
        return outcome, False

    def sums(self) -> dict[str, tuple[int, int, int]]:
        return {path: (box.debits, box.credits, box.bookings) for path, box in self.boxes.items()}


TRANSACTIONS = """
SELECT t.id, t.status, t.amount_minor, t.debit_account_id, t.credit_account_id, t.receipt_code,
    (SELECT array_agg(h.to_status ORDER BY h.id) FROM ledger_transactionevent h WHERE h.transaction_id = t.id)
FROM ledger_transaction t WHERE t.client_id = %s
"""
# Looked through once for all: the index on transactions leaves captures out.
JOURNALS = "SELECT transaction_id, array_agg(id) FROM ledger_journal WHERE transaction_id = ANY(%s) GROUP BY 1"
LINES = """
SELECT j.id, j.entry_count, j.client_id, j.external_ref, j.posted_at, a.client_id, a.currency_id = e.currency_id,
    e.line, e.account_id, e.currency_id, e.amount_minor, e.account_version, e.posted_after, e.posted_at, e.layer
FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id LEFT JOIN ledger_journal j ON j.id = e.journal_id
WHERE a.client_id = %s ORDER BY e.account_id, e.account_version
"""
BALANCES = """
SELECT b.account_id, a.kind, b.posted_debits, b.posted_credits, b.pending_debits, b.pending_credits, b.floor, b.ceiling,
    b.version
FROM ledger_balance b JOIN ledger_account a ON a.id = b.account_id WHERE a.client_id = %s
"""
OUTBOX = "SELECT type, data::jsonb->>'id' FROM events_outboxevent WHERE client_id = %s AND type LIKE 'transaction.%%'"


def offences(client_id: int) -> list[str]:
    """Return what is wrong with a client's books, read row by row and added up here: nothing, one hopes."""
    with owner_connection(DATABASE) as owner:
        owner.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        transactions, lines, balances, outbox = (
            owner.execute(query, [client_id]).fetchall() for query in (TRANSACTIONS, LINES, BALANCES, OUTBOX)
        )
        journals: dict[UUID, list[UUID]] = dict(owner.execute(JOURNALS, [[row[0] for row in transactions]]).fetchall())
    return [
        *_of_journals(client_id, lines, transactions, journals),
        *_of_accounts(lines, balances),
        *_of_outcomes(transactions, outbox),
    ]


def _of_journals(client_id: int, lines: list[Any], transactions: list[Any], made: dict[UUID, list[UUID]]) -> list[str]:
    journals = defaultdict(list)
    for row in lines:
        journals[row[0]].append(row)
    found = []
    for journal_id, rows in journals.items():
        if {(row[2], row[5], row[6], row[14]) for row in rows} != {(client_id, client_id, True, "posted")}:
            found.append(f"journal {journal_id} is not all of this client, in its accounts' currencies, posted")
        if sum(row[10] for row in rows) or len({row[9] for row in rows}) != 1:
            found.append(f"journal {journal_id} does not sum to zero in one currency")
        if sorted(row[7] for row in rows) != list(range(1, rows[0][1] + 1)):
            found.append(f"journal {journal_id} is not complete")
        if any(row[13] != row[4] for row in rows):
            found.append(f"journal {journal_id} has lines of another time")
    for row in transactions:
        booked = [(line[8], line[10]) for journal_id in made.get(row[0], ()) for line in journals[journal_id]]
        meant = [(row[3], row[2]), (row[4], -row[2])] if row[1] == "completed" else []
        if sorted(booked) != sorted(meant):
            found.append(f"transaction {row[0]} ({row[1]}) is booked as {booked}")
    return found


def _of_accounts(lines: list[Any], balances: list[Any]) -> list[str]:
    accounts = defaultdict(list)
    for row in lines:
        accounts[row[8]].append(row)
    found = []
    for account_id, kind, debits, credits_, held_debits, held_credits, floor, ceiling, version in balances:
        rows = accounts[account_id]
        folded = sum(row[10] for row in rows if row[10] > 0), -sum(row[10] for row in rows if row[10] < 0)
        if (debits, credits_, held_debits, held_credits) != (*folded, 0, 0):
            found.append(f"account {account_id} has {debits}, {credits_}; its lines say {folded}")
        if [row[11] for row in rows] != list(range(1, version + 1)):
            found.append(f"account {account_id} has gaps in its versions")
        after = 0
        for row in rows:
            after += row[10]
            if row[12] != after:
                found.append(f"account {account_id} runs wrong at version {row[11]}")
        if any(later[13] < earlier[13] for earlier, later in pairwise(rows)):
            found.append(f"account {account_id} goes back in time")
        shown = after if kind in DEBIT_NORMAL else -after
        if (floor is not None and shown < floor) or (ceiling is not None and shown > ceiling):
            found.append(f"account {account_id} is beyond its limits at {shown}")
    return found


def _of_outcomes(transactions: list[Any], outbox: list[Any]) -> list[str]:
    told = Counter(outbox)
    meant = Counter(
        (f"transaction.{status}", str(row[0]))
        for row in transactions
        for status in row[6] or []
        if status != "processing"
    )
    wrong = [
        f"transaction {row[0]} is {row[1]} after {row[6]}" for row in transactions if (row[6] or [])[-1:] != [row[1]]
    ]
    return wrong + [f"told {told - meant}, not told {meant - told}"] * (told != meant)
