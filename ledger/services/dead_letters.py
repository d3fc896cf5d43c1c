"""Replay dead letters, or discard them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.db import OperationalError, transaction
from django.db.models import F
from django.db.models.functions import Now
from psycopg import errors as pg

from config.runtime.database import raw_cursor
from config.runtime.errors import DomainError, NotFound
from config.runtime.tracing import outgoing_headers
from ledger.clients.services import record_audit
from ledger.events.dead_letters import has_key, letter_shape, tell_of_letters, without_messages
from ledger.events.errors import (
    DeadLetterBehind,
    DeadLetterBusy,
    DeadLetterResolved,
    ReplayExhausted,
    ReplayFailed,
)
from ledger.events.models import DeadLetter, LetterStatus
from ledger.events.replay import replay
from ledger.events.shapes import DeadLetterShape
from ledger.events.types import EventType
from ledger.services.idempotency import Claim, find_earlier, keep_key, take_key

REPLAY, DISCARD = "dead_letters.replay", "dead_letters.discard"
FAILED_AGAIN = "dead_letter.replay_failed"
REPLAYS_MAX = 5
# Staff may replay on, once what kept a message from being handled is mended.
STAFF_REPLAYS_MAX = 100
RATE_PER_S = 50

# Who waits for a letter gives up after five seconds. The handler of who has it may take its time: meanwhile that
# session is idle, and one that is frozen keeps nobody but its letter.
BOUND_WAITS = """
SELECT set_config('lock_timeout', '5s', true), set_config('idle_in_transaction_session_timeout', '2min', true)
"""


@dataclass(frozen=True, slots=True)
class Handled:
    """A letter as it stands; `repeated` when an earlier request with the same key had it handled."""

    letter: DeadLetterShape
    repeated: bool

    @property
    def failure(self) -> ReplayFailed | None:
        """That it failed again, if it did."""
        if self.letter.status != LetterStatus.OPEN:
            return None
        return ReplayFailed(
            f"It failed again: {self.letter.last_error}",
            dead_letter_id=str(self.letter.id),
            replay_count=self.letter.replay_count,
        )


def replay_dead_letter(
    *,
    letter_id: UUID,
    client_id: int | None = None,
    replays_max: int = REPLAYS_MAX,
    reason: str = "",
    claim: Claim | None = None,
    actor: str,
    request_id: str,
) -> Handled:
    """Have the message of an open letter handled again; one that fails again stays open (`Handled.failure`).

    Any client's, unless one is named. Replays of one letter come one after the other, and letters of one consumer and
    key in the order in which they were recorded. It is audited.

    Raises:
        NotFound: the client has no such letter.
        DeadLetterResolved: it was replayed or discarded.
        DeadLetterBehind: an older one of its consumer and key is open.
        DeadLetterBusy: another replay of it takes long.
        ReplayExhausted: it was replayed as often as may be.
        ReplayUnhandled: nobody handles the kind of its consumer.
    """
    by: dict[str, Any] = {"actor": actor, "reason": reason, "request_id": request_id}
    with transaction.atomic(durable=True):
        row = _locked(letter_id, client_id)
        if _is_repeated(row, claim):
            return Handled(letter_shape(row), repeated=True)
        _check_open(row)
        _check_replayable(row, replays_max)
        error = replay(row)
        if error is None:
            row = _resolved(row, LetterStatus.REPLAYED, EventType.DEAD_LETTER_REPLAYED, replays=1, **by)
        else:
            row = _moved(row, replay_count=F("replay_count") + 1, last_error=error, failed_at=Now())
            _audit(row, FAILED_AGAIN, detail={"error": error}, **by)
        _keep(claim, row)
    return Handled(letter_shape(row), repeated=False)


def replay_dead_letters(
    letter_ids: Iterable[UUID],
    *,
    client_id: int | None = None,
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
            client_id=client_id,
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


def discard_dead_letter(
    *,
    letter_id: UUID,
    client_id: int | None = None,
    reason: str,
    claim: Claim | None = None,
    actor: str,
    request_id: str,
) -> Handled:
    """Give up an open letter for good, with a reason; it is audited. Any client's, unless one is named.

    Raises:
        NotFound: the client has no such letter.
        DeadLetterResolved: it was replayed or discarded.
        DeadLetterBusy: a replay of it takes long.
    """
    by: dict[str, Any] = {"actor": actor, "reason": reason, "request_id": request_id}
    with transaction.atomic(durable=True):
        row = _locked(letter_id, client_id)
        if _is_repeated(row, claim):
            return Handled(letter_shape(row), repeated=True)
        _check_open(row)
        row = _resolved(row, LetterStatus.DISCARDED, EventType.DEAD_LETTER_DISCARDED, **by)
        _keep(claim, row)
    return Handled(letter_shape(row), repeated=False)


def _code(ask: Callable[[], Handled]) -> str:
    try:
        failure: DomainError | None = ask().failure
    except DomainError as refusal:
        failure = refusal
    return "" if failure is None else failure.code


def _locked(letter_id: UUID, client_id: int | None) -> DeadLetter:
    rows = DeadLetter.objects.select_for_update().filter(pk=letter_id)
    with raw_cursor() as cursor:
        cursor.execute(BOUND_WAITS)
    try:
        row = (rows if client_id is None else rows.filter(client_id=client_id)).first()
    except OperationalError as error:
        if isinstance(error.__cause__, pg.LockNotAvailable):
            raise DeadLetterBusy(retry_after_s=1) from error
        raise
    if row is None:
        raise NotFound
    return row


def _is_repeated(row: DeadLetter, claim: Claim | None) -> bool:
    """Tell whether an equal request was here; one that is here meanwhile waits for the letter.

    The key itself is locked afterwards (`_keep`): a handler may book, and must not wait for a key that we hold.
    """
    return claim is not None and find_earlier(client_id=_client_of(row), claim=claim) is not None


def _keep(claim: Claim | None, row: DeadLetter) -> None:
    if claim is not None:
        client_id = _client_of(row)
        take_key(client_id=client_id, claim=claim)
        keep_key(client_id=client_id, claim=claim, object_id=str(row.pk))


def _client_of(row: DeadLetter) -> int:
    assert row.client_id is not None  # who has a key to claim is a client, and sees its own letters
    return row.client_id


def _check_open(row: DeadLetter) -> None:
    if row.status != LetterStatus.OPEN:
        raise DeadLetterResolved(f"The dead letter has been {row.status} already.", letter_status=row.status)


def _check_replayable(row: DeadLetter, replays_max: int) -> None:
    if row.replay_count >= replays_max:
        raise ReplayExhausted(replay_count=row.replay_count)
    if not row.key:
        return  # a message without a key has no order to keep
    older = DeadLetter.objects.filter(has_key(row.key), status=LetterStatus.OPEN, consumer=row.consumer, pk__lt=row.pk)
    before = older.order_by("pk").values_list("pk", flat=True).first()
    if before is not None:
        raise DeadLetterBehind(older_dead_letter_id=str(before))


def _resolved(
    row: DeadLetter,
    status: LetterStatus,
    event_type: EventType,
    *,
    replays: int = 0,
    actor: str,
    reason: str,
    request_id: str,
) -> DeadLetter:
    row = _moved(
        row,
        status=status,
        replay_count=F("replay_count") + replays,
        resolved_at=Now(),
        resolved_by=actor,
        reason=reason,
    )
    _audit(row, event_type.value, actor=actor, reason=reason, request_id=request_id)
    tell_of_letters(event_type, [row], trace=outgoing_headers().get("traceparent", ""))
    return row


def _moved(row: DeadLetter, **columns: Any) -> DeadLetter:
    moved = DeadLetter.objects.filter(pk=row.pk, status=LetterStatus.OPEN).update(**columns)
    assert moved == 1  # it is locked
    return without_messages(DeadLetter.objects.filter(pk=row.pk)).get()


def _audit(row: DeadLetter, action: str, *, detail: dict[str, Any] | None = None, **by: str) -> None:
    told = {"consumer": row.consumer, "error_code": row.error_code, "replay_count": row.replay_count}
    record_audit(client_id=row.client_id, action=action, subject=row, detail=told | (detail or {}), **by)
