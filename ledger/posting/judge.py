"""Evaluate the intents of a round one after the other, in memory, against locked balances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from config.runtime.ids import uuid7s
from ledger.domain.accounts import AccountRef
from ledger.domain.balances import Side, Sums
from ledger.domain.states import Status
from ledger.errors import IdempotencyKeyReused
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
    """One intent with its verdict: completed with the lines of a journal, or failed with an error code."""

    intent: Intent
    status: Status
    error_code: str | None = None
    lines: tuple[Line, ...] = ()
    journal_id: UUID | None = None


@dataclass(slots=True)
class Verdicts:
    """What a round has to write, and per intent either its index there or an outcome that needs no writing."""

    judged: list[Judged] = field(default_factory=list)
    results: list[int | Outcome] = field(default_factory=list)


def judge(intents: Sequence[Intent], balances: Mapping[int, Sums], taken: Mapping[Key, TakenKey]) -> Verdicts:
    """Return the verdicts, in the order of the intents; `balances` are moved along.

    The order alone decides: cutting the same intents into other rounds gives the same verdicts.
    """
    known = dict(taken)
    verdicts = Verdicts()
    for intent in intents:
        key = None if intent.idempotency_key is None else (intent.client_id, intent.idempotency_key)
        holder = known.get(key) if key is not None else None
        if holder is not None:
            verdicts.results.append(_replay(intent, holder))
            continue
        if key is not None:
            known[key] = TakenKey(intent.request_hash or b"", intent.id)
        verdicts.results.append(len(verdicts.judged))
        verdicts.judged.append(_verdict(intent, balances[intent.debit.id], balances[intent.credit.id]))
    booked = [one for one in verdicts.judged if one.lines]
    for one, journal_id in zip(booked, uuid7s(len(booked)), strict=True):
        one.journal_id = journal_id
    return verdicts


def _replay(intent: Intent, holder: TakenKey) -> Outcome:
    if holder.transaction_id is None or holder.request_hash != intent.request_hash:
        return Outcome(refusal=IdempotencyKeyReused())
    return Outcome(replay_of=holder.transaction_id)


def _verdict(intent: Intent, debit: Sums, credit: Sums) -> Judged:
    amount = intent.amount_minor
    error_code = debit.refusal(Side.DEBIT, amount) or credit.refusal(Side.CREDIT, amount)
    if error_code is not None:
        return Judged(intent, Status.FAILED, error_code)
    debit.post(Side.DEBIT, amount)
    credit.post(Side.CREDIT, amount)
    lines = (
        Line(intent.debit, Side.DEBIT, amount, debit.version, debit.posted, debit.pending),
        Line(intent.credit, Side.CREDIT, -amount, credit.version, credit.posted, credit.pending),
    )
    return Judged(intent, Status.COMPLETED, None, lines)
