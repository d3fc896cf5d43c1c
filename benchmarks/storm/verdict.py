"""What is left after a storm: was anything lost, done twice, left undone, or answered as it must not be?"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from benchmarks.harness import Row, percentile
from benchmarks.procs import finished
from benchmarks.storm.customers import BROKEN, Crowd, Sight
from benchmarks.storm.faults import Director
from benchmarks.storm.ground import Ground

# While Redis is away whoever calls it waits for one timeout; `Prefer: wait=2` may add its two seconds.
ANSWER_BOUND_S = 5.0
SHOWN = 5

# How old what is shown of a transaction may be (spec 001, StatusUpdateInterval).
AGE_MAX_S = 1.0
TRANSACTIONS = """
SELECT t.id::text, t.idempotency_key, t.receipt_code, t.status, coalesce(j.journals, 0), t.version
FROM ledger_transaction t
JOIN clients_client c ON c.id = t.client_id
LEFT JOIN (SELECT transaction_id, count(*) AS journals FROM ledger_journal GROUP BY transaction_id) j
    ON j.transaction_id = t.id
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
FINAL = {"completed", "failed"}


class Stored(NamedTuple):
    """A transaction as it stands in the end."""

    id: str
    key: str | None
    receipt: str
    status: str
    journals: int
    version: int


class Verdict:
    """Looks once, when everything has settled."""

    def __init__(self, ground: Ground, crowd: Crowd, director: Director, settle_s: float) -> None:
        self._ground, self._crowd, self._director, self._settle_s = ground, crowd, director, settle_s
        self._told = crowd.told()
        self._stored = [Stored(*row) for row in ground.query(TRANSACTIONS, crowd.books.client)]
        self._found = self._transactions() | self._batches() | self._sights() | self._answers() | self._books()

    @property
    def harm(self) -> list[str]:
        """What must not be and is."""
        return [what for what, offences in self._found.items() if offences]

    def tables(self) -> list[Row]:
        for what in self.harm:
            print(f"{what}: {self._found[what][:SHOWN]}", file=sys.stderr)
        return [
            {
                "title": "storm: what was done",
                "rows": _counted(self._director.done),
            },
            {"title": "storm: what was asked", "rows": [self._asked()]},
            {"title": f"storm: answers while Redis was away, at most {ANSWER_BOUND_S:g} s", "rows": self._redis()},
            {"title": "storm: what must be 0", "rows": _counted({k: len(v) for k, v in self._found.items()})},
        ]

    def _asked(self) -> Row:
        statuses = self._crowd.statuses()
        kinds = [told.kind for told in self._told.values() if told.id is not None]
        return {
            **{kind: kinds.count(kind) for kind in ("accepted", "waited", "batch")},
            "refused": sum(told.id is None for told in self._told.values()),
            "seen": len(self._crowd.sights()),
            "sent": sum(statuses.values()),
            "answered_503": statuses[503],
            "broken": statuses[BROKEN],
            "final_after_s": self._settle_s,
        }

    def _redis(self) -> list[Row]:
        rows = []
        for what, begun, ended in self._director.redis:
            took = sorted(one.seconds for one in self._crowd.attempts() if begun <= one.begun < ended)
            if took:
                rows.append(
                    {
                        "redis": what,
                        "seconds": ended - begun,
                        "answers": len(took),
                        "p50_ms": percentile(took, 0.5) * 1000,
                        "p99_ms": percentile(took, 0.99) * 1000,
                        "max_ms": took[-1] * 1000,
                    }
                )
        return rows

    def _transactions(self) -> dict[str, list[Any]]:
        rows = self._stored
        stored = {(row.id, row.key, row.receipt) for row in rows}
        told = {key: one for key, one in self._told.items() if one.kind != "batch"}
        kept = {(one.id, key, one.receipt) for key, one in told.items() if one.id is not None}
        keys = Counter(row.key for row in rows if row.key is not None)
        asked = {key for key in keys if not key.startswith("open-")}
        return {
            "receipts without their transaction": sorted(kept - stored),
            "transactions without an outcome": [row for row in rows if row.status not in FINAL],
            "outcomes without exactly their journal": [r for r in rows if r.journals != (r.status == "completed")],
            "transactions that nobody was told of": sorted(asked - {key for _, key, _ in kept}),
            "keys of two transactions": [key for key, count in keys.items() if count > 1],
        }

    def _batches(self) -> dict[str, list[Any]]:
        rows = self._ground.query(BATCHES, self._crowd.books.client)
        told = {(one.id, key) for key, one in self._told.items() if one.kind == "batch" and one.id is not None}
        stored = {(identifier, key) for identifier, key, _, _ in rows}
        return {
            "batches lost": sorted(told - stored),
            "batches that nobody was told of": [row for row in rows if row[:2] not in told],
            "batches without an outcome": [row for row in rows if row[2] == "processing" or row[3]],
        }

    def _sights(self) -> dict[str, list[Any]]:
        stored = {row.id: row for row in self._stored}
        by_id, by_process = defaultdict[str, list[Sight]](list), defaultdict[tuple[str, str], list[Sight]](list)
        for sight in self._crowd.sights():
            by_id[sight.id].append(sight)
            by_process[sight.id, sight.connection].append(sight)
        return {
            "statuses that were never true": [
                sight for sights in by_id.values() for sight in sights if not _was_true(sight, stored.get(sight.id))
            ],
            "statuses that a process took back": [
                later
                for sights in by_process.values()
                for one, later in pairwise(sights)
                if later.version < one.version
            ],
            "statuses older than a second": [
                late
                for sights in by_id.values()
                for late in sights
                if any(one.version > late.version and one.ended + AGE_MAX_S < late.begun for one in sights)
            ],
        }

    def _answers(self) -> dict[str, list[Any]]:
        late = [
            one
            for _, begun, ended in self._director.redis
            for one in self._crowd.attempts()
            if begun <= one.begun < ended and one.seconds > ANSWER_BOUND_S
        ]
        return {
            "errors and odd answers": self._crowd.odd(),
            "keys never answered": self._crowd.unanswered(),
            "keys answered with two objects": self._crowd.doubled(),
            "late answers while Redis was away": late,
        }

    def _books(self) -> dict[str, list[Any]]:
        try:
            finished(["manage.py", "verify_ledger", "--json"], env=self._ground.environment)
        except RuntimeError as error:
            return {"invariants of the books": [str(error)]}
        return {"invariants of the books": []}


def _was_true(sight: Sight, stored: Stored | None) -> bool:
    """Tell whether a transaction that ended so was ever as it was seen: in a storm they move once, if at all."""
    if stored is None or sight.version > stored.version:
        return False
    return sight.status == (stored.status if sight.version == stored.version else "processing")


def _counted(counts: Mapping[str, int]) -> list[Row]:
    return [{"what": what, "times": count} for what, count in counts.items()]
