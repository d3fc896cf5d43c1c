"""Accept intents to be posted later: durable as `processing`, with a place in the queue (spec 001, async flow)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError, transaction
from psycopg import errors as pg

from config.runtime.clock import rfc3339
from config.runtime.database import pipeline, raw_cursor
from config.runtime.deadline import Overdue, ended_within
from config.runtime.errors import DomainError
from ledger.domain.balances import Sums
from ledger.domain.states import Status
from ledger.errors import AcceptTimeout
from ledger.locks import ask_about_balances, ask_for_keys, read_balances
from ledger.posting.attempts import repeated
from ledger.posting.engine import ask_for_known, known_keys, refused
from ledger.posting.intents import Intent, Outcome
from ledger.posting.judge import Judged, Key, TakenKey, replay, unbookable
from ledger.posting.queue import QUEUE, Room
from ledger.posting.report import report_statuses
from ledger.posting.shape import transaction_shape
from ledger.posting.write import write_accepted

# Short, since a group waits with the one that has to: a key that is in another request's hands is waited for alone.
BEGIN_ACCEPTING = """
SELECT clock_timestamp(), set_config('lock_timeout', '500ms', true),
    set_config('idle_in_transaction_session_timeout', '10s', true)
"""


def accept(intents: Sequence[Intent]) -> list[Outcome]:
    """Store intents in one commit and return one outcome for each, in order: `processing`, a replay, or a refusal.

    Refused is what cannot succeed now: a frozen or closed account, or less money than is committed. One that is to be
    executed later is not measured by what stands now.

    Raises:
        AcceptTimeout: it took longer than RECEIPT_TIMEOUT; nothing was stored.
    """
    try:
        return repeated(lambda: _commit(intents))
    except Overdue as error:
        raise AcceptTimeout(retry_after_s=1) from error
    except DatabaseError as error:
        cause = error.__cause__
        if not isinstance(cause, (pg.LockNotAvailable, pg.IntegrityError, pg.DataError)):
            raise
        if len(intents) > 1:
            until = time.monotonic() + settings.RECEIPT_TIMEOUT
            return [_alone(intent, until) for intent in intents]
        return [Outcome(refusal=_refusal(intents[0], cause))]


def _alone(intent: Intent, until: float) -> Outcome:
    if time.monotonic() > until:
        return Outcome(refusal=AcceptTimeout(retry_after_s=1))  # nobody waits for it any more
    try:
        return accept([intent])[0]
    except DomainError as refusal:
        return Outcome(refusal=refusal)


def _refusal(intent: Intent, cause: pg.Error) -> DomainError:
    return AcceptTimeout(retry_after_s=1) if isinstance(cause, pg.LockNotAvailable) else refused(intent, cause)


def _commit(intents: Sequence[Intent]) -> list[Outcome]:
    with transaction.atomic(durable=True), ended_within(settings.RECEIPT_TIMEOUT):
        sums, taken, room, accepted_at = _look(intents)
        accepted, results = _sort(intents, sums, taken, room)
        moment = rfc3339(accepted_at)
        shapes = [transaction_shape(one, posted_at=moment) for one in accepted]
        if accepted:
            write_accepted(accepted, shapes, accepted_at=accepted_at)
        written_at = time.monotonic()
    report_statuses(accepted, shapes, written_at=written_at)
    # One that is to be executed later takes its place then.
    QUEUE.joined(sum(one.intent.execute_at is None for one in accepted))
    return [Outcome(transaction=shapes[result]) if isinstance(result, int) else result for result in results]


def _look(intents: Sequence[Intent]) -> tuple[dict[int, Sums], dict[Key, TakenKey], Room, datetime]:
    account_ids = {account.id for intent in intents for account in intent.accounts}
    keyed = [intent.key for intent in intents if intent.key is not None]
    with raw_cursor() as begun, raw_cursor() as keys, raw_cursor() as balances, raw_cursor() as queue:
        with pipeline():
            begun.execute(BEGIN_ACCEPTING)
            ask_for_keys(keys, shared=keyed)
            ask_for_known(keys, keyed)
            ask_about_balances(balances, account_ids)
            is_asked = QUEUE.ask(queue, len(intents))
        # Not before the end of the pipeline: until then a cursor may show the answer to its first statement.
        room = QUEUE.room(queue if is_asked else None)
        return read_balances(balances), known_keys(keys), room, begun.fetchall()[0][0]


def _sort(
    intents: Sequence[Intent], sums: Mapping[int, Sums], taken: Mapping[Key, TakenKey], room: Room
) -> tuple[list[Judged], list[int | Outcome]]:
    """Return what is to be stored, and per intent its index there or an outcome that needs no storing."""
    known, accepted, results, joining = dict(taken), list[Judged](), list[int | Outcome](), 0
    for intent in intents:
        holder = None if intent.key is None else known.get(intent.key)
        objection = None if holder is not None else _objection(intent, sums, room, joining)
        if holder is not None:
            results.append(replay(intent, holder))
        elif objection is not None:
            results.append(Outcome(refusal=objection))
        else:
            if intent.key is not None:
                known[intent.key] = TakenKey(intent.request_hash or b"", intent.id)
            results.append(len(accepted))
            accepted.append(Judged(intent, Status.PROCESSING, moved_minor=intent.amount_minor))
            joining += intent.execute_at is None
    return accepted, results


def _objection(intent: Intent, sums: Mapping[int, Sums], room: Room, joining: int) -> DomainError | None:
    """Return what keeps an intent out now; one that is to be executed later is measured, and takes its place, then."""
    if intent.objection is not None or intent.execute_at is not None:
        return intent.objection
    found = unbookable(intent, sums)
    return room.objection(joining) if found is None else found.failure
