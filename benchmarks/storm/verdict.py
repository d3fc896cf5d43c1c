"""What is left after a storm: was anything lost, done twice, left undone, or answered as it must not be?"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from benchmarks.harness import Row, percentile
from benchmarks.procs import finished
from benchmarks.storm.crowd import Crowd
from benchmarks.storm.customers import BROKEN, Makes, Sight, Told
from benchmarks.storm.faults import Director
from benchmarks.storm.ground import Ground
from benchmarks.storm.stored import BATCHES, CHANGES, FAILED, Step, Stored, transactions

# While Redis is away whoever calls it waits for one timeout; `Prefer: wait=2` may add its two seconds.
ANSWER_BOUND_S = 5.0
SHOWN = 5

# How old what is shown of a transaction may be (spec 001, StatusUpdateInterval).
AGE_MAX_S = 1.0
ACTIONS = {
    "freeze": "account.frozen",
    "unfreeze": "account.unfrozen",
    "limits": "account.limits_changed",
    "close": "account.closed",
    "reopen": "account.reopened",
}


class Verdict:
    """Looks once, when everything has settled."""

    def __init__(self, ground: Ground, crowd: Crowd, director: Director, settle_s: float) -> None:
        self._ground, self._crowd, self._director, self._settle_s = ground, crowd, director, settle_s
        self._told = crowd.told()
        self._stored = {row.id: row for row in transactions(ground, crowd.books.client)}
        self._found = (self._transactions() | self._batches() | self._holds() | self._reversals() | self._changes()) | (
            self._sights() | self._answers() | self._books()
        )

    @property
    def harm(self) -> list[str]:
        """What must not be and is."""
        return [what for what, offences in self._found.items() if offences]

    def tables(self) -> list[Row]:
        for what in self.harm:
            print(f"{what}: {self._found[what][:SHOWN]}", file=sys.stderr)
        refusals = Counter((one.ask.kind, one.code) for one in self._told.values() if one.code)
        return [
            {"title": "storm: what was done", "rows": _counted(self._director.done)},
            {"title": "storm: what was asked", "rows": self._asked()},
            {
                "title": "storm: what was refused or failed",
                "rows": [{"kind": kind, "code": code, "times": n} for (kind, code), n in sorted(refusals.items())],
            },
            {
                "title": "storm: how holds ended",
                "rows": _counted(Counter(row.status for row in self._stored.values() if row.is_hold)),
            },
            {"title": "storm: what was answered", "rows": [self._answered()]},
            {"title": f"storm: answers while Redis was away, at most {ANSWER_BOUND_S:g} s", "rows": self._redis()},
            {"title": "storm: what must be 0", "rows": _counted({k: len(v) for k, v in self._found.items()})},
        ]

    def _asked(self) -> list[Row]:
        outcomes = defaultdict[str, Counter[str]](Counter)
        for told in self._told.values():
            outcomes[told.ask.kind][_outcome(told)] += 1
        names = ("done", "accepted", "failed", "refused")
        return [{"kind": kind} | {name: found[name] for name in names} for kind, found in sorted(outcomes.items())]

    def _answered(self) -> Row:
        statuses = self._crowd.statuses()
        return {
            "sent": sum(statuses.values()),
            "seen": len(self._crowd.sights()),
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

    def _done(self, *makes: Makes) -> dict[str, Told]:
        """Return what was answered as done, or as stored, by its key."""
        return {key: one for key, one in self._told.items() if one.ask.makes in makes and one.id is not None}

    def _transactions(self) -> dict[str, list[Any]]:
        rows, made = self._stored.values(), self._done(Makes.TRANSACTION)
        stored = {(row.id, row.key, row.receipt) for row in rows} | {(row.id, row.receipt) for row in rows}
        kept = {(one.id, key, one.receipt) for key, one in made.items()}
        in_batches = {item for one in self._done(Makes.BATCH).values() for item in one.items}
        batches = {one.id for one in self._done(Makes.BATCH).values() if not one.code}
        keys = Counter(row.key for row in rows if row.key is not None)
        asked = {key for key in keys if not key.startswith("open-")}
        of_nobody = {row.id for row in rows if row.key is None and row.batch_id not in batches}
        return {
            "receipts without their transaction": sorted((kept | in_batches) - stored, key=str),
            "transactions without an outcome": [row for row in rows if not row.is_final],
            "outcomes without exactly their journals": [row for row in rows if not row.has_its_journals],
            "outcomes other than answered": [
                one for one in made.values() if one.id in self._stored and not _is_as_told(one, self._stored[one.id])
            ],
            "transactions that nobody was told of": sorted((asked - made.keys()) | of_nobody),
            "keys of two transactions": [key for key, count in keys.items() if count > 1],
        }

    def _batches(self) -> dict[str, list[Any]]:
        rows = self._ground.query(BATCHES, self._crowd.books.client)
        told = {(one.id, key): bool(one.code) for key, one in self._done(Makes.BATCH).items()}
        stored = {(identifier, key): status == FAILED for identifier, key, status, _ in rows}
        return {
            "batches lost": sorted(told.keys() - stored.keys()),
            "batches other than answered": [one for one in told if one in stored and told[one] != stored[one]],
            "batches that nobody was told of": [row for row in rows if row[:2] not in told],
            "batches without an outcome": [row for row in rows if row[2] == "processing" or row[3]],
        }

    def _holds(self) -> dict[str, list[Any]]:
        """Each capture and void is one step of the history, which has the id of its request, and has no other."""
        told, steps = self._done(Makes.MOVE), defaultdict[str, list[tuple[str, Step]]](list)
        for row in self._stored.values():
            for step in row.ends:
                steps[step.request].append((row.id, step))
        captured = Counter[str]()
        for key, one in told.items():
            captured[str(one.id)] += sum(step.minor for _, step in steps[key] if one.ask.kind != "void")
        return {
            "captures and voids not made as answered": [
                one for key, one in told.items() if not _is_made(one, steps[key])
            ],
            "captures and voids that nobody was told of": sorted(steps.keys() - told.keys() - {""}),
            "holds of which more or less was captured than answered": [
                row for row in self._stored.values() if row.is_hold and row.booked_minor != captured[row.id]
            ],
        }

    def _reversals(self) -> dict[str, list[Any]]:
        shown = {one.id for one in self._done(Makes.TRANSACTION).values()}
        shown |= {identifier for one in self._done(Makes.BATCH).values() for identifier, _ in one.items}
        back = Counter[str]()
        for row in self._stored.values():
            if row.reverses is not None and row.status != FAILED and row.id in shown:
                back[row.reverses] += row.amount_minor
        return {
            "more or less taken back than answered": [
                row for row in self._stored.values() if row.reversed_minor != back[row.id]
            ]
        }

    def _changes(self) -> dict[str, list[Any]]:
        told, made = self._done(Makes.CHANGE), defaultdict[str, list[tuple[str, str]]](list)
        for request, action, account in self._ground.query(CHANGES, self._crowd.books.client):
            made[request].append((action, account))
        return {
            "changes of accounts not made as answered": [
                one for key, one in told.items() if made[key] != [(ACTIONS[one.ask.kind], one.ask.of)]
            ],
            "changes of accounts that nobody was told of": sorted(made.keys() - told.keys()),
        }

    def _sights(self) -> dict[str, list[Any]]:
        walks = {row.id: list(row.walk()) for row in self._stored.values()}
        by_id, by_process = defaultdict[str, list[Sight]](list), defaultdict[tuple[str, str], list[Sight]](list)
        for sight in self._crowd.sights():
            by_id[sight.id].append(sight)
            by_process[sight.id, sight.connection].append(sight)
        return {
            "statuses that were never true": [
                sight for sights in by_id.values() for sight in sights if not _was_true(sight, walks.get(sight.id, []))
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


def _outcome(told: Told) -> str:
    if told.id is None:
        return "refused"
    if told.code:
        return "failed"
    return "accepted" if told.status == 202 else "done"


def _is_as_told(told: Told, row: Stored) -> bool:
    """Tell whether a transaction ended as it was answered, and is what was asked for."""
    is_asked = row.reverses == told.ask.of and (told.ask.amount is None or row.amount_minor == _minor(told.ask.amount))
    return is_asked and (told.status == 202 or (row.status == FAILED) is bool(told.code))


def _is_made(told: Told, steps: list[tuple[str, Step]]) -> bool:
    """Tell whether a capture or void that was answered as done was done once, to that hold and by that much."""
    if [identifier for identifier, _ in steps] != [told.ask.of]:
        return False
    ((_, step),) = steps
    if told.ask.kind == "void":
        return step.after == "voided" or (step.after == "completed" and step.minor == 0)
    return step.after != "voided" and step.minor == (_minor(told.ask.amount) if told.ask.amount else step.minor) > 0


def _was_true(sight: Sight, walk: list[tuple[str, int]]) -> bool:
    """Tell whether a transaction that went so was ever as it was seen."""
    if not 1 <= sight.version <= len(walk):
        return False
    status, captured = walk[sight.version - 1]
    return sight.status == status and (sight.captured is None or _minor(sight.captured) == captured)


def _minor(amount: str) -> int:
    return int(amount.replace(".", ""))


def _counted(counts: Mapping[str, int]) -> list[Row]:
    return [{"what": what, "times": count} for what, count in counts.items()]
