"""Evaluate the intents of a round one after the other, in memory, against locked balances."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from config.runtime.errors import DomainError
from config.runtime.ids import uuid7s
from ledger.domain.accounts import AccountRef
from ledger.domain.balances import Side, Sums
from ledger.domain.states import Status
from ledger.errors import GroupRefused, IdempotencyKeyReused, failure_of
from ledger.posting.intents import Intent, Outcome

Key = tuple[int, str]


class TakenKey(NamedTuple):
    """Who has an idempotency key: the hash of the request, and its transaction (None: another operation's)."""

    request_hash: bytes
    transaction_id: UUID | None


class Line(NamedTuple):
    """One line of a journal, debits positive."""

    account: AccountRef
    side: Side
    amount_minor: int
    account_version: int
    posted_after: int
    pending_after: int


@dataclass(slots=True)
class Judged:
    """One intent with its verdict: completed with the lines of a journal, failed with an error code, or accepted.

    `attempts` counts the tries until now that another try may mend.
    """

    intent: Intent
    status: Status
    error_code: str | None = None
    lines: tuple[Line, ...] = ()
    journal_id: UUID | None = None
    attempts: int = 0


@dataclass(slots=True)
class Verdicts:
    """What a round has to write, and per intent either its index there or an outcome that needs no writing."""

    judged: list[Judged] = field(default_factory=list)
    results: list[int | Outcome] = field(default_factory=list)


def judge(intents: Sequence[Intent], balances: Mapping[int, Sums], taken: Mapping[Key, TakenKey]) -> Verdicts:
    """Return the verdicts, in the order of the intents; `balances` are moved along.

    The order alone decides: cutting the same intents into other rounds gives the same verdicts, unless a cut parts a
    group, which is judged where its first intent stands.
    """
    bench = _Bench(balances, dict(taken))
    results: dict[int, int | Outcome] = {}
    for places in units(intents):
        unit = [intents[place] for place in places]
        outcomes = bench.one(unit[0]) if unit[0].group is None else bench.group(unit)
        results.update(zip(places, outcomes, strict=True))
    booked = [one for one in bench.judged if one.lines]
    for one, journal_id in zip(booked, uuid7s(len(booked)), strict=True):
        one.journal_id = journal_id
    return Verdicts(bench.judged, [results[place] for place in range(len(intents))])


def units(intents: Sequence[Intent]) -> Collection[list[int]]:
    """Return the places of what is judged together, in the order of the first of each."""
    groups: dict[str | int, list[int]] = {}
    for place, intent in enumerate(intents):
        groups.setdefault(place if intent.group is None else intent.group, []).append(place)
    return groups.values()


@dataclass(slots=True)
class _Bench:
    """Where intents are judged: the sums and keys as those before have left them, and what is to be written."""

    balances: Mapping[int, Sums]
    known: dict[Key, TakenKey]
    judged: list[Judged] = field(default_factory=list)

    def one(self, intent: Intent) -> list[int | Outcome]:
        """Judge one intent and return its result: an index in `judged`, or an outcome that needs no writing."""
        key = intent.key
        holder = None if key is None else self.known.get(key)
        if holder is not None:
            return [replay(intent, holder)]
        if key is not None:
            self.known[key] = TakenKey(intent.request_hash or b"", intent.id)
        self.judged.append(_verdict(intent, self.balances[intent.debit.id], self.balances[intent.credit.id]))
        return [len(self.judged) - 1]

    def group(self, unit: Sequence[Intent]) -> list[int | Outcome]:
        """Judge intents that are booked together; when one fails, take back the others and their keys.

        Those after a failing one are judged as well, so that the answer names every one that fails.
        """
        account_ids = {account.id for intent in unit for account in intent.accounts}
        before = [(self.balances[account_id], copy(self.balances[account_id])) for account_id in account_ids]
        new_keys = {intent.key for intent in unit if intent.key is not None} - self.known.keys()
        begun = len(self.judged)
        results = [self.one(intent)[0] for intent in unit]
        refusals = [self._refusal(result) for result in results]
        if not any(refusals):
            return results
        for sums, saved in before:
            sums.restore(saved)
        for key in new_keys:
            del self.known[key]
        undone = {one.intent.id for one in self.judged[begun:]}
        del self.judged[begun:]
        return [
            result
            if isinstance(result, Outcome) and result.replay_of not in undone
            else Outcome(refusal=refusal or GroupRefused())
            for result, refusal in zip(results, refusals, strict=True)
        ]

    def _refusal(self, result: int | Outcome) -> DomainError | None:
        if isinstance(result, Outcome):
            return result.refusal
        error_code = self.judged[result].error_code
        return None if error_code is None else failure_of(error_code)


def replay(intent: Intent, holder: TakenKey) -> Outcome:
    """Return the outcome of an intent whose key is taken."""
    if holder.transaction_id is None or holder.request_hash != intent.request_hash:
        return Outcome(refusal=IdempotencyKeyReused())
    return Outcome(replay_of=holder.transaction_id)


def _verdict(intent: Intent, debit: Sums, credit: Sums) -> Judged:
    amount = intent.amount_minor
    error_code = debit.refusal(Side.DEBIT, amount) or credit.refusal(Side.CREDIT, amount)
    attempts = intent.accepted.attempts if intent.accepted is not None else 0
    if error_code is not None:
        return Judged(intent, Status.FAILED, error_code, attempts=attempts)
    debit.post(Side.DEBIT, amount)
    credit.post(Side.CREDIT, amount)
    lines = (
        Line(intent.debit, Side.DEBIT, amount, debit.version, debit.posted, debit.pending),
        Line(intent.credit, Side.CREDIT, -amount, credit.version, credit.posted, credit.pending),
    )
    return Judged(intent, Status.COMPLETED, None, lines, attempts=attempts)
