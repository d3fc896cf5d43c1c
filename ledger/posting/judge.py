"""Evaluate the intents of a round one after the other, in memory, against locked balances."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from config.runtime.errors import DomainError
from config.runtime.ids import uuid7s
from ledger.domain.accounts import AccountRef
from ledger.domain.balances import Side, Sums
from ledger.domain.legs import Leg, totals
from ledger.domain.states import JournalKind, Layer, Status
from ledger.errors import GroupRefused, HoldExpired, IdempotencyKeyReused, failure_of
from ledger.posting.intents import Action, Intent, Outcome
from ledger.posting.standing import Standing, hold_objection, reversal_objection

Key = tuple[int, str]


class TakenKey(NamedTuple):
    """Who has an idempotency key: the hash of the request, and its transaction (None: another operation's)."""

    request_hash: bytes
    transaction_id: UUID | None


class Unbookable(NamedTuple):
    """Why an intent cannot be booked: an error code, and the place of the account, where it was asked for by legs."""

    code: str
    pointer: str | None

    @property
    def failure(self) -> DomainError:
        """The failure to answer with."""
        return failure_of(*self)


class Line(NamedTuple):
    """One line of a journal, debits positive."""

    account: AccountRef
    layer: Layer
    amount_minor: int
    account_version: int
    posted_after: int
    pending_after: int
    pending_debits_after: int


@dataclass(slots=True)
class Judged:
    """One intent with its verdict: completed with the lines of a journal, failed with an error code, or accepted.

    `attempts` counts the tries until now that another try may mend. `moved_minor` is what this verdict moves;
    `standing` is where the transaction stands then, if it stood already.
    """

    intent: Intent
    status: Status
    error_code: str | None = None
    error_pointer: str | None = None
    lines: tuple[Line, ...] = ()
    kind: JournalKind = JournalKind.POST
    journal_id: UUID | None = None
    attempts: int = 0
    moved_minor: int = 0
    from_status: Status | None = None
    standing: Standing | None = None

    @property
    def is_captured_in_part(self) -> bool:
        """Whether some of a hold was captured and the rest is still held."""
        return self.from_status is Status.PENDING and self.status is Status.PENDING

    @property
    def is_told(self) -> bool:
        """Whether it is a step of the transaction's history: what takes part of it back tells that of itself."""
        return self.standing is None or self.status is not self.from_status or self.is_captured_in_part


@dataclass(slots=True)
class Verdicts:
    """What a round has to write, and per intent either its index there or an outcome that needs no writing."""

    judged: list[Judged] = field(default_factory=list)
    results: list[int | Outcome] = field(default_factory=list)


def judge(
    intents: Sequence[Intent],
    balances: Mapping[int, Sums],
    taken: Mapping[Key, TakenKey],
    standings: Mapping[UUID, Standing],
    *,
    now: datetime,
) -> Verdicts:
    """Return the verdicts, in the order of the intents; `balances` and `standings` are moved along.

    The order alone decides: cutting the same intents into other rounds gives the same verdicts, unless a cut parts a
    group, which is judged where its first intent stands. `now` decides which holds have ended.
    """
    bench = _Bench(balances, dict(taken), dict(standings), now)
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
    """Where intents are judged: sums, keys and standings as those before have left them, and what is to be written."""

    balances: Mapping[int, Sums]
    known: dict[Key, TakenKey]
    standings: dict[UUID, Standing]
    now: datetime
    judged: list[Judged] = field(default_factory=list)

    def one(self, intent: Intent) -> list[int | Outcome]:
        """Judge one intent and return its result: an index in `judged`, or an outcome that needs no writing."""
        key = intent.key
        holder = None if key is None else self.known.get(key)
        if holder is not None:
            return [replay(intent, holder)]
        objection = intent.objection or self._objection(intent)
        if objection is not None:
            return [Outcome(refusal=objection)]
        if key is not None:
            self.known[key] = TakenKey(intent.request_hash or b"", intent.id)
        place = len(self.judged)
        if intent.action is not Action.BOOK:
            self.judged.append(self._end(intent))
            return [place]
        one = _verdict(intent, self.balances, now=self.now)
        self.judged.append(one)
        if intent.original is not None and one.status is Status.COMPLETED:
            self.judged.append(self._taken_back(intent.original, intent.amount_minor))
        return [place]

    def group(self, unit: Sequence[Intent]) -> list[int | Outcome]:
        """Judge intents that are booked together; when one fails, take back the others and their keys.

        Those after a failing one are judged as well, so that the answer names every one that fails.
        """
        account_ids = {account.id for intent in unit for account in intent.accounts}
        before = [(self.balances[account_id], copy(self.balances[account_id])) for account_id in account_ids]
        standings = dict(self.standings)
        new_keys = {intent.key for intent in unit if intent.key is not None} - self.known.keys()
        begun = len(self.judged)
        results = [self.one(intent)[0] for intent in unit]
        refusals = [self._refusal(result) for result in results]
        if not any(refusals):
            return results
        for sums, saved in before:
            sums.restore(saved)
        self.standings = standings
        for key in new_keys:
            self.known.pop(key, None)
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
        one = self.judged[result]
        return None if one.error_code is None else failure_of(one.error_code, one.error_pointer)

    def _objection(self, intent: Intent) -> DomainError | None:
        """Return what keeps an intent from being done to the transaction that it names, if it names one."""
        if intent.target_id is None:
            return None
        standing = self.standings[intent.target_id]
        if intent.original is not None:
            return reversal_objection(standing, intent.amount_minor)
        objection = hold_objection(standing, intent, now=self.now)
        if objection is None and intent.action is Action.CAPTURE:
            found = uncapturable(intent, self.balances)
            return None if found is None else found.failure
        return objection

    def _end(self, intent: Intent) -> Judged:
        """Capture, void or expire: take off what was held, and book what is captured."""
        before = self.standings[intent.id]
        held = before.held_minor
        captured = 0 if intent.action is not Action.CAPTURE else intent.portion_minor or held
        released = held if intent.is_final or intent.action is not Action.CAPTURE else captured
        standing = before.captured(captured, is_over=released == held, by=intent.action, now=self.now)
        self.standings[intent.id] = standing
        lines = [_held(self.balances, leg, is_let_go=True) for leg in intent.portion(released)]
        if captured:
            lines += [_posted(self.balances, leg) for leg in intent.portion(captured)]
        return Judged(
            intent,
            standing.status,
            lines=tuple(lines),
            kind=_ENDED_BY[intent.action],
            # What comes to be booked with it, and of what ends without that, what is let go.
            moved_minor=captured if standing.booked_minor else released,
            from_status=before.status,
            standing=standing,
        )

    def _taken_back(self, original: Intent, amount_minor: int) -> Judged:
        before = self.standings[original.id]
        standing = self.standings[original.id] = before.taken_back(amount_minor)
        return Judged(original, standing.status, moved_minor=amount_minor, from_status=before.status, standing=standing)


_ENDED_BY = {
    Action.CAPTURE: JournalKind.CAPTURE,
    Action.VOID: JournalKind.VOID,
    Action.EXPIRE: JournalKind.EXPIRE,
}


def replay(intent: Intent, holder: TakenKey) -> Outcome:
    """Return the outcome of an intent whose key is taken."""
    if holder.transaction_id is None or holder.request_hash != intent.request_hash:
        return Outcome(refusal=IdempotencyKeyReused())
    return Outcome(replay_of=holder.transaction_id)


def unbookable(intent: Intent, balances: Mapping[int, Sums]) -> Unbookable | None:
    """Return what keeps an intent's legs from being booked, or None."""
    for account_id, amount_minor in totals(intent.legs).items():
        code = balances[account_id].refusal(_side(amount_minor), abs(amount_minor))
        if code is not None:
            return Unbookable(code, intent.place_of(account_id))
    return None


def uncapturable(intent: Intent, balances: Mapping[int, Sums]) -> Unbookable | None:
    """Return what keeps from being booked what is held, for which there is room, or None."""
    for account, amount_minor in intent.legs:
        code = balances[account.id].capture_refusal(_side(amount_minor), 0)
        if code is not None:
            return Unbookable(code, intent.place_of(account.id))
    return None


def _verdict(intent: Intent, balances: Mapping[int, Sums], *, now: datetime) -> Judged:
    amount = intent.amount_minor
    is_late = intent.expires_at is not None and intent.expires_at <= now
    failed = Unbookable(HoldExpired.code, None) if is_late else unbookable(intent, balances)
    attempts, from_status = 0, None
    if intent.accepted is not None:
        attempts, from_status = intent.accepted.attempts, Status.PROCESSING
    if failed is not None:
        return Judged(intent, Status.FAILED, *failed, attempts=attempts, moved_minor=amount, from_status=from_status)
    is_held = intent.expires_at is not None
    book = _held if is_held else _posted
    return Judged(
        intent,
        Status.PENDING if is_held else Status.COMPLETED,
        lines=tuple([book(balances, leg) for leg in intent.legs]),
        kind=JournalKind.HOLD if is_held else JournalKind.POST if intent.original is None else JournalKind.REVERSAL,
        attempts=attempts,
        moved_minor=amount,
        from_status=from_status,
    )


def _side(amount_minor: int) -> Side:
    return Side.DEBIT if amount_minor > 0 else Side.CREDIT


def _posted(balances: Mapping[int, Sums], leg: Leg) -> Line:
    account, amount_minor = leg
    sums = balances[account.id]
    sums.post(_side(amount_minor), abs(amount_minor))
    return _line(account, Layer.POSTED, amount_minor, sums)


def _held(balances: Mapping[int, Sums], leg: Leg, *, is_let_go: bool = False) -> Line:
    account, amount_minor = leg
    sums = balances[account.id]
    sums.hold(_side(amount_minor), -abs(amount_minor) if is_let_go else abs(amount_minor))
    return _line(account, Layer.HELD, -amount_minor if is_let_go else amount_minor, sums)


def _line(account: AccountRef, layer: Layer, amount_minor: int, sums: Sums) -> Line:
    return Line(account, layer, amount_minor, sums.version, sums.posted, sums.pending, sums.pending_debits)
