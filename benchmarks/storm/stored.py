"""What stands in the books after a storm, as far as the verdict compares it with what was answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.storm.ground import Ground

TRANSACTIONS = """
SELECT t.id::text, t.idempotency_key, t.receipt_code, t.status, t.version, t.amount_minor::bigint,
    t.booked_minor::bigint, t.reversed_minor::bigint, t.expires_at IS NOT NULL, t.reverses_id::text, t.batch_id::text,
    coalesce(j.kinds, '{}'), h.steps
FROM ledger_transaction t
JOIN clients_client c ON c.id = t.client_id
LEFT JOIN (SELECT transaction_id, array_agg(kind) AS kinds FROM ledger_journal GROUP BY transaction_id) j
    ON j.transaction_id = t.id
LEFT JOIN (
    SELECT transaction_id,
        json_agg(json_build_array(from_status, to_status, amount_minor::bigint, request_id) ORDER BY id) AS steps
    FROM ledger_transactionevent
    GROUP BY transaction_id
) h ON h.transaction_id = t.id
WHERE c.name = %s
"""
BATCHES = """
SELECT b.id::text, k.key, b.status, coalesce(i.waiting, 0)
FROM ledger_batch b
JOIN clients_client c ON c.id = b.client_id
LEFT JOIN (
    SELECT batch_id, count(*) AS waiting
    FROM ledger_batchitem
    WHERE transaction_id IS NULL AND error IS NULL
    GROUP BY batch_id
) i ON i.batch_id = b.id
LEFT JOIN clients_idempotencykey k ON k.client_id = b.client_id AND k.object_id = b.id::text
WHERE c.name = %s
"""
CHANGES = """
SELECT e.request_id, e.action, a.public_id::text
FROM clients_auditentry e
JOIN clients_client c ON c.id = e.client_id
JOIN ledger_account a ON e.object_type = 'ledger.account' AND a.id::text = e.object_id
WHERE c.name = %s
"""
PROCESSING, PENDING, FAILED, REVERSED = "processing", "pending", "failed", "reversed"
# What ends a hold, by the status that it then has; one of which some was captured may end either way.
_ENDS = {
    "voided": ("void",),
    "expired": ("expire",),
    "completed": ("", "void", "expire"),
    "reversed": ("", "void", "expire"),
}


class Step(NamedTuple):
    """A step of a transaction's history: what moved, and the request that moved it; "" for the schedule."""

    before: str | None
    after: str
    minor: int
    request: str


class Stored(NamedTuple):
    """A transaction as it stands in the end, with the kinds of its journals and its history."""

    id: str
    key: str | None
    receipt: str
    status: str
    version: int
    amount_minor: int
    booked_minor: int
    reversed_minor: int
    is_hold: bool
    reverses: str | None
    batch_id: str | None
    journals: list[str]
    steps: list[Step]

    @property
    def is_final(self) -> bool:
        return self.status not in (PROCESSING, PENDING)

    @property
    def has_its_journals(self) -> bool:
        """Whether it has exactly the journals that its history tells of."""
        found = Counter(self.journals)
        if self.status == FAILED:
            return not found
        if not self.is_hold:
            return found == {"post" if self.reverses is None else "reversal": 1}
        captures = sum(step.minor > 0 and step.after in (PENDING, "completed") for step in self.ends)
        ways = [Counter({"hold": 1, "capture": captures, end: 1}) for end in _ENDS.get(self.status, ())]
        return any(found == Counter({kind: n for kind, n in way.items() if kind and n}) for way in ways)

    @property
    def ends(self) -> list[Step]:
        """What was done to the hold."""
        return [step for step in self.steps if step.before == PENDING]

    def walk(self) -> Iterator[tuple[str, int]]:
        """Yield the status and what was captured of it, version by version."""
        captured = 0
        for step in self.steps:
            if step.after == REVERSED:
                continue
            captured += step.minor if step.before == PENDING and step.after in (PENDING, "completed") else 0
            yield step.after, captured
        # What takes a part of it back raises the version, and is no step of its history.
        for _ in range(self.version - len(self.steps)):
            yield "completed", captured
        if self.status == REVERSED:
            yield REVERSED, captured


def transactions(ground: Ground, client: str) -> list[Stored]:
    """Return all of a client."""
    rows = ground.query(TRANSACTIONS, client)
    return [Stored._make((*row[:-1], [Step(*step) for step in row[-1]])) for row in rows]
