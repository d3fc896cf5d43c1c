"""Replay a dead letter, or discard it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, Unpack
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from config.runtime.database import raw_cursor
from config.runtime.errors import NotFound
from config.runtime.named_locks import LockTaken, hold_name_until_commit, name_held
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
from ledger.events.replay import handle_again, is_handled_apart
from ledger.events.shapes import DeadLetterShape
from ledger.events.types import EventType
from ledger.queries.dead_letters import get_letter
from ledger.services.idempotency import Claim, find_earlier, keep_key, take_key

REPLAY, DISCARD = "dead_letters.replay", "dead_letters.discard"
FAILED_AGAIN = "dead_letter.replay_failed"
REPLAYS_MAX = 5
# Staff may replay on, once what kept a message from being handled is mended.
STAFF_REPLAYS_MAX = 100

# Who waits for a letter gives up after this. The handler of who has it may take its time: meanwhile that session is
# idle, and one that is frozen keeps nobody but its letter.
PATIENCE_S = 5.0
FROZEN_S_MAX = 120
BOUND_IDLENESS = "SELECT set_config('idle_in_transaction_session_timeout', %s, true)"


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


class Asker(TypedDict):
    """Who asks; where it is a client, which one, and what its idempotency key claims."""

    actor: str
    request_id: str
    caller_id: NotRequired[int | None]
    claim: NotRequired[Claim | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """Who asks, and why: what stands in the letter, in the audit trail and under the key."""

    actor: str
    request_id: str
    reason: str
    caller_id: int | None = None
    claim: Claim | None = None

    def was_here(self) -> bool:
        """Tell whether an equal request was; one that is here meanwhile waits for the letter.

        The key itself is locked afterwards (`keep_key`): a handler may book, and must not wait for a key that we hold.
        """
        if self.claim is None or self.caller_id is None:
            return False
        return find_earlier(client_id=self.caller_id, claim=self.claim) is not None

    def keep_key(self, row: DeadLetter) -> None:
        """Store the key, in the commit of what became of the letter."""
        if self.claim is not None and self.caller_id is not None:
            take_key(client_id=self.caller_id, claim=self.claim)
            keep_key(client_id=self.caller_id, claim=self.claim, object_id=str(row.pk))


def replay_dead_letter(
    *, letter_id: UUID, replays_max: int = REPLAYS_MAX, reason: str = "", **asker: Unpack[Asker]
) -> Handled:
    """Have the message of an open letter handled again; one that fails again stays open (`Handled.failure`).

    Replays of one letter come one after the other, and letters of one consumer and key in the order in which they were
    recorded. It is audited.

    Raises:
        NotFound: there is no such letter.
        DeadLetterResolved: it was replayed or discarded.
        DeadLetterBehind: an older one of its consumer and key is open.
        DeadLetterBusy: another replay of it takes long.
        ReplayExhausted: it was replayed as often as may be.
        ReplayUnhandled: nobody handles the kind of its consumer.
    """
    by = _Request(reason=reason, **asker)
    with _apart(letter_id) if is_handled_apart(_consumer_of(letter_id)) else _in_one_commit(letter_id):
        row = get_letter(letter_id)
        if by.was_here():
            return Handled(letter_shape(row), repeated=True)
        _check_open(row)
        _check_replayable(row, replays_max)
        error = handle_again(row)
        with transaction.atomic():
            row = _replayed(row, by) if error is None else _failed(row, error, by)
            by.keep_key(row)
    return Handled(letter_shape(row), repeated=False)


def discard_dead_letter(*, letter_id: UUID, reason: str, **asker: Unpack[Asker]) -> Handled:
    """Give up an open letter for good, with a reason; it is audited.

    Raises:
        NotFound: there is no such letter.
        DeadLetterResolved: it was replayed or discarded.
        DeadLetterBusy: a replay of it takes long.
    """
    by = _Request(reason=reason, **asker)
    with _in_one_commit(letter_id):
        row = get_letter(letter_id)
        if by.was_here():
            return Handled(letter_shape(row), repeated=True)
        _check_open(row)
        row = _resolved(row, LetterStatus.DISCARDED, EventType.DEAD_LETTER_DISCARDED, by)
        by.keep_key(row)
    return Handled(letter_shape(row), repeated=False)


@contextmanager
def _in_one_commit(letter_id: UUID) -> Iterator[None]:
    """Have a letter to oneself in a database transaction."""
    with transaction.atomic(durable=True):
        with raw_cursor() as cursor:
            cursor.execute(BOUND_IDLENESS, [f"{FROZEN_S_MAX}s"])
        try:
            hold_name_until_commit(_name(letter_id), patience_s=PATIENCE_S)
        except LockTaken as error:
            raise DeadLetterBusy(retry_after_s=1) from error
        yield


@contextmanager
def _apart(letter_id: UUID) -> Iterator[None]:
    """Have a letter to oneself outside of any database transaction: nothing else is locked, whatever is done."""
    try:
        with name_held(_name(letter_id), patience_s=PATIENCE_S, idle_s_max=FROZEN_S_MAX):
            yield
    except LockTaken as error:
        raise DeadLetterBusy(retry_after_s=1) from error


def _name(letter_id: UUID) -> str:
    return f"dead_letter:{letter_id}"


def _consumer_of(letter_id: UUID) -> str:
    consumer = DeadLetter.objects.filter(pk=letter_id).values_list("consumer", flat=True).first()
    if consumer is None:
        raise NotFound
    return consumer


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


def _replayed(row: DeadLetter, by: _Request) -> DeadLetter:
    return _resolved(row, LetterStatus.REPLAYED, EventType.DEAD_LETTER_REPLAYED, by, replay_count=F("replay_count") + 1)


def _failed(row: DeadLetter, error: str, by: _Request) -> DeadLetter:
    row = _moved(row, replay_count=F("replay_count") + 1, last_error=error, failed_at=Now())
    _audit(row, FAILED_AGAIN, by, error=error)
    return row


def _resolved(row: DeadLetter, status: LetterStatus, event_type: EventType, by: _Request, **columns: Any) -> DeadLetter:
    row = _moved(row, status=status, resolved_at=Now(), resolved_by=by.actor, reason=by.reason, **columns)
    _audit(row, event_type.value, by)
    tell_of_letters(event_type, [row], trace=outgoing_headers().get("traceparent", ""))
    return row


def _moved(row: DeadLetter, **columns: Any) -> DeadLetter:
    """Change an open letter; whoever replays it apart may have been frozen, and another have resolved it meanwhile."""
    if DeadLetter.objects.filter(pk=row.pk, status=LetterStatus.OPEN).update(**columns) != 1:
        raise DeadLetterResolved(letter_status=get_letter(row.pk).status)
    return without_messages(DeadLetter.objects.filter(pk=row.pk)).get()


def _audit(row: DeadLetter, action: str, by: _Request, **more: str) -> None:
    told = {"consumer": row.consumer, "error_code": row.error_code, "replay_count": row.replay_count}
    record_audit(
        client_id=row.client_id,
        action=action,
        subject=row,
        detail=told | more,
        actor=by.actor,
        reason=by.reason,
        request_id=by.request_id,
    )
