"""What stands in the books of a client, read row by row, in the words of the reference."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any
from uuid import UUID

from django.db import connection

from config.runtime.clock import now
from config.runtime.errors import DomainError
from ledger.domain.shapes import AccountShape, TransactionShape
from ledger.queries.account_statements import account_statement
from ledger.queries.accounts import get_account
from ledger.queries.balances import balance_at, trial_balance
from ledger.queries.transactions import shown_transactions
from tests.ledger.model.boxes import Shown, in_order
from tests.ledger.model.looks import Mark
from tests.people import Tenant

SUMS = """
SELECT a.path, b.posted_debits, b.posted_credits, b.pending_debits, b.pending_credits, b.version, a.status, a.frozen,
    b.floor, b.ceiling
FROM ledger_balance b
JOIN ledger_account a ON a.id = b.account_id
WHERE a.client_id = %s
"""
MOVED = """
SELECT t.id, h.history, t.error_code, t.attempts, t.version, t.booked_minor, t.reversed_minor, t.status
FROM ledger_transaction t
CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_array(h.to_status, h.amount_minor) ORDER BY h.id) AS history
    FROM ledger_transactionevent h WHERE h.transaction_id = t.id
) h
WHERE t.client_id = %s
"""
LABELS = "SELECT id, reference, batch_id, batch_index FROM ledger_transaction WHERE client_id = %s"
ITEMS = """
SELECT b.id, b.status, i.attempts, i.transaction_id, i.replayed, i.error ->> 'code', i.error -> 'retryable' = 'true'
FROM ledger_batch b
JOIN ledger_batchitem i ON i.batch_id = b.id
WHERE b.client_id = %s
ORDER BY b.id, i.index
"""
LINES = """
SELECT a.path, j.transaction_id, j.kind, e.layer, e.amount_minor
FROM ledger_entry e
JOIN ledger_account a ON a.id = e.account_id
JOIN ledger_journal j ON j.id = e.journal_id
WHERE a.client_id = %s
ORDER BY a.id, e.account_version
"""
# Every hour of the reference takes effect within less than this.
MOST_OF_AN_HOUR = timedelta(minutes=59)


class Books:
    """A client of its own. Its transactions have the labels of asks as their reference."""

    def __init__(self) -> None:
        self.tenant = Tenant.new()
        self.client_id = self.tenant.client.pk
        self.accounts: dict[str, AccountShape] = {"cash:USD": self.tenant.account("cash:USD")}
        self.batch_ids: dict[str, UUID] = {}
        self.marks: list[datetime] = []
        self.began = now()

    def mark(self) -> None:
        self.marks.append(now())

    def books(self) -> dict[str, tuple[Any, ...]]:
        labels = self._labels()
        return self._sums() | self._moved(labels) | self._results(labels)

    def lines(self) -> dict[str, list[Shown]]:
        labels, found = self._labels(), {path: list[Shown]() for path in self.accounts}
        for path, transaction_id, kind, layer, amount in self._rows(LINES):
            found[path].append((labels[transaction_id], kind, layer, int(amount)))
        return {path: in_order(lines) for path, lines in found.items()}

    def terms(self) -> dict[str, tuple[Any, ...]]:
        labels = self._labels()
        shapes = shown_transactions(labels)
        return {label: _terms(shapes[one], labels) for one, label in labels.items()}

    def statement(self, path: str, since: Mark, until: Mark) -> tuple[int, list[tuple[str, int]], int] | str:
        row, labels = get_account(self.client_id, self.accounts[path].id), self._labels()
        try:
            shape = account_statement(row, since=self._moment(since), until=self._moment(until))
        except DomainError as refusal:
            return refusal.code
        normal_side = "debit" if row.sign > 0 else "credit"
        lines = [
            (labels[UUID(line.transaction_id)], _minor(line.amount) * (1 if line.side == normal_side else -1))
            for line in shape.lines
        ]
        opening, closing = _minor(shape.opening.balance), _minor(shape.closing.balance)
        assert opening + sum(amount for _, amount in lines) == closing
        return opening, lines, closing

    def balance(self, path: str, at: Mark, effective: int | None) -> tuple[int, int, int]:
        row = get_account(self.client_id, self.accounts[path].id)
        by = None if effective is None else self.began + timedelta(hours=effective) + MOST_OF_AN_HOUR
        shape = balance_at(row, self._moment(at), effective_at=by, now=now())
        assert _minor(shape.available) == _minor(shape.posted) - _minor(shape.held)
        return _minor(shape.posted), _minor(shape.held), shape.version

    def trial_balance(self, at: Mark) -> dict[tuple[str, str], tuple[int, int]]:
        shape = trial_balance(self.client_id, self._moment(at), now=now())
        assert all(one.balanced and one.debit == one.credit for one in shape.currencies)
        found = {
            (one.currency, kind.kind): (_minor(kind.debit), _minor(kind.credit))
            for one in shape.currencies
            for kind in one.kinds
        }
        return {which: sums for which, sums in found.items() if any(sums)}

    def _moment(self, mark: Mark) -> datetime | None:
        return None if mark is None else self.marks[mark]

    def _sums(self) -> dict[str, tuple[Any, ...]]:
        return {path: tuple(found) for path, *found in self._rows(SUMS)}

    def _moved(self, labels: dict[UUID, str]) -> dict[str, tuple[Any, ...]]:
        rows = self._rows(MOVED)
        assert len(set(labels.values())) == len(rows)
        histories = {one: [(*step,) for step in json.loads(history)] for one, history, *_ in rows}
        assert all(histories[one][-1][0] == status for one, *_, status in rows)
        return {labels[one]: (histories[one], *found) for one, _, *found, _ in rows}

    def _results(self, labels: dict[UUID, str]) -> dict[str, tuple[Any, ...]]:
        found: dict[str, tuple[Any, ...]] = {}
        for batch_id, status, attempts, made, replayed, code, retryable in self._rows(ITEMS):
            stored = (labels[made], replayed) if made is not None else (code, retryable) if code is not None else None
            found.setdefault(self._label_of(batch_id), (status, []))[1].append((stored, attempts))
        return found

    def _labels(self) -> dict[UUID, str]:
        """Return the label of each transaction: what a batch takes back has its place there."""
        return {
            one: reference or f"{self._label_of(batch_id)}#{place}"
            for one, reference, batch_id, place in self._rows(LABELS)
        }

    def _label_of(self, batch_id: UUID) -> str:
        (label,) = (label for label, other in self.batch_ids.items() if other == batch_id)
        return label

    def _rows(self, query: str) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(query, [self.client_id])
            return list(cursor.fetchall())


def _terms(shape: TransactionShape, labels: dict[UUID, str]) -> tuple[Any, ...]:
    return (
        _minor(shape.amount),
        None if shape.fee is None else _minor(shape.fee),
        None if shape.credit_amount is None else _minor(shape.credit_amount),
        None if shape.rounding is None else Fraction(shape.rounding),
        None if shape.captured is None else _minor(shape.captured),
        None if shape.reverses is None else labels[shape.reverses],
    )


def _minor(amount: str) -> int:
    """Return the minor units of an amount as an API writes it, with all of its currency's decimals."""
    return int(amount.replace(".", ""))
