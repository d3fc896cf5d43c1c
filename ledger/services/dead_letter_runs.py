"""Replay or discard many dead letters, one after the other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import msgspec
from django.db import transaction

from config.runtime.errors import DomainError
from config.runtime.named_locks import LockTaken, name_held
from ledger.clients.models import AuditEntry, Client
from ledger.clients.services import record_audit
from ledger.errors import IdempotencyKeyInUse
from ledger.events.shapes import ReplaysShape, TallyShape
from ledger.queries.dead_letters import Selection, tally
from ledger.services.dead_letters import REPLAYS_MAX, Handled, discard_dead_letter, replay_dead_letter
from ledger.services.idempotency import Claim, find_earlier, keep_key, take_key

REPLAY_MANY = "dead_letters.replay_many"
RUN = "dead_letters.replayed"
RATE_PER_S = 50
# Well within what a proxy waits for an answer, and a process that is told to stop.
ANSWER_WITHIN_S = 20.0
PATIENCE_S, FROZEN_S_MAX = 5.0, 120


@dataclass(frozen=True, slots=True)
class Chosen:
    """Letters that are meant, and whether others are meant beside."""

    ids: Sequence[UUID]
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a run; `repeated` when an earlier request with the same key was it."""

    report: ReplaysShape
    repeated: bool


def run_replays(
    choose: Callable[[], Chosen],
    *,
    rate_per_s: float = RATE_PER_S,
    reason: str,
    caller_id: int,
    claim: Claim | None,
    actor: str,
    request_id: str,
) -> Ran:
    """Replay what `choose` returns as `replay_dead_letters` does, for as long as an answer may take, and audit it.

    A repetition with the same key chooses and replays nothing, and is told the same. Of one whose process was killed no
    key is kept: its repetition takes up what is left.

    Raises:
        IdempotencyKeyReused: the key belongs to another request.
        IdempotencyKeyInUse: an equal request has run for five seconds and still does.
    """

    def run() -> ReplaysShape:
        chosen = choose()
        found = _found(chosen)
        replays = replay_dead_letters(
            chosen.ids, rate_per_s=rate_per_s, reason=reason, actor=actor, request_id=request_id
        )
        report = _report(chosen, found, _outcomes(replays))
        with transaction.atomic(durable=True):
            if claim is not None:
                take_key(client_id=caller_id, claim=claim)
            entry = record_audit(
                client_id=caller_id,
                action=RUN,
                subject=Client(pk=caller_id),
                detail=msgspec.to_builtins(report),
                actor=actor,
                reason=reason,
                request_id=request_id,
            )
            if claim is not None:
                keep_key(client_id=caller_id, claim=claim, object_id=str(entry.pk))
        return report

    if claim is None:
        return Ran(run(), repeated=False)
    # By a name beside the key: who books may wait for who has the key, and this takes long.
    try:
        with name_held(f"{REPLAY_MANY}:{caller_id}:{claim.key}", patience_s=PATIENCE_S, idle_s_max=FROZEN_S_MAX):
            earlier = find_earlier(client_id=caller_id, claim=claim)
            if earlier is None:
                return Ran(run(), repeated=False)
    except LockTaken as error:
        raise IdempotencyKeyInUse(retry_after_s=1) from error
    told = AuditEntry.objects.get(pk=int(earlier)).detail
    return Ran(msgspec.convert(told, ReplaysShape), repeated=True)


def plan_replays(chosen: Chosen) -> ReplaysShape:
    """Return what a run would be about."""
    return msgspec.structs.replace(_report(chosen, _found(chosen), Counter()), dry_run=True, not_reached=0)


def replay_dead_letters(
    letter_ids: Iterable[UUID],
    *,
    replays_max: int = REPLAYS_MAX,
    rate_per_s: float = RATE_PER_S,
    reason: str = "",
    actor: str,
    request_id: str = "",
) -> Iterator[tuple[UUID, str]]:
    """Replay letters as `replay_dead_letter` does, each in its own commit, in the order in which they were recorded.

    At most `rate_per_s` a second are begun. Return of each, after its commit, the code of what kept it from being
    handled, empty if nothing did.
    """
    begun = time.monotonic()
    for place, letter_id in enumerate(sorted(set(letter_ids))):
        time.sleep(max(0.0, begun + place / rate_per_s - time.monotonic()))
        ask = partial(
            replay_dead_letter,
            letter_id=letter_id,
            replays_max=replays_max,
            reason=reason,
            actor=actor,
            request_id=request_id,
        )
        yield letter_id, _code(ask)


def discard_dead_letters(letter_ids: Iterable[UUID], *, reason: str, actor: str) -> Iterator[tuple[UUID, str]]:
    """Discard letters as `discard_dead_letter` does, each in its own commit.

    Return of each, after its commit, the code of what kept it from being discarded, empty if nothing did.
    """
    for letter_id in letter_ids:
        ask = partial(discard_dead_letter, letter_id=letter_id, reason=reason, actor=actor, request_id="")
        yield letter_id, _code(ask)


def _found(chosen: Chosen) -> list[TallyShape]:
    return tally(Selection(ids=chosen.ids).rows, replays_max=REPLAYS_MAX)


def _outcomes(replays: Iterable[tuple[UUID, str]]) -> Counter[str]:
    """Go on for as long as there is time; count the codes of what kept letters from being handled."""
    outcomes, until = Counter[str](), time.monotonic() + ANSWER_WITHIN_S
    for _, code in replays:
        outcomes[code] += 1
        if time.monotonic() > until:
            break
    return outcomes


def _report(chosen: Chosen, found: list[TallyShape], outcomes: Counter[str]) -> ReplaysShape:
    return ReplaysShape(
        dry_run=False,
        found=found,
        replayed=outcomes[""],
        refused={code: count for code, count in sorted(outcomes.items()) if code},
        not_reached=len(chosen.ids) - outcomes.total(),
        has_more=chosen.has_more,
    )


def _code(ask: Callable[[], Handled]) -> str:
    try:
        failure: DomainError | None = ask().failure
    except DomainError as refusal:
        failure = refusal
    return "" if failure is None else failure.code
