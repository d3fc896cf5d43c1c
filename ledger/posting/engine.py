"""The one engine: lock the balances in order, judge in memory, write set-wise (design §4). One is a batch of one.

1. Lock the transactions that the round moves, then every balance, in the order of their ids; then read account states,
   taken keys, the clock.
2. Judge the intents one after the other.
3. Write transactions, journals with lines, history and outbox rows; the guards of the database check all of it.
4. Commit. What a conflict undid is repeated; what the database refused is repeated one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, transaction
from psycopg import errors as pg

from config.runtime.arrays import numbers, texts
from config.runtime.database import pipeline, raw_cursor
from config.runtime.deadline import Overdue, ended_within
from config.runtime.errors import DomainError
from config.runtime.logging import get_logger
from config.runtime.metrics import POSTING_LOCK_WAIT
from config.runtime.sql import sql_file
from ledger.domain.balances import Sums
from ledger.domain.shapes import TransactionShape
from ledger.errors import IdempotencyKeyInUse, PostingContended, PostingRefused, PostingTimeout
from ledger.locks import (
    ROUND_PATIENCE,
    SET_LOCK_TIMEOUT,
    Cursor,
    ask_for_balances,
    ask_for_keys,
    free_balances,
    locked_balances,
)
from ledger.posting.attempts import KEY_CONSTRAINT, repeated
from ledger.posting.intents import Intent, Outcome
from ledger.posting.judge import Judged, Key, TakenKey, judge, units
from ledger.posting.report import report_outcomes, report_statuses
from ledger.posting.standing import Standing, ask_for_targets, standings
from ledger.posting.write import write_round

ROUND_SIZE_MAX = 1000
ONE_BY_ONE_S = 10
KNOWN_KEYS = sql_file("ledger/posting", "known_keys")
# No SELECT may come before it, which is why it is a command of its own.
SERIALIZABLE = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
CLOCK = "SELECT clock_timestamp()"

Alongside = Callable[[Sequence[Outcome]], None]
Before = Callable[[], None]

log = get_logger()


@dataclass(frozen=True, slots=True)
class Settled:
    """A round that is written and not yet committed."""

    judged: Sequence[Judged]
    shapes: Sequence[TransactionShape]
    outcomes: Sequence[Outcome]
    written_at: float = field(default_factory=time.monotonic)

    def report(self) -> None:
        """Tell lists, the status tracker, logs and metrics; call after the commit."""
        report_statuses(self.judged, self.shapes, written_at=self.written_at)
        both = [(one, shape) for one, shape in zip(self.judged, self.shapes, strict=True) if one.standing is None]
        report_outcomes([one for one, _ in both], [shape for _, shape in both])


def post(
    intents: Sequence[Intent],
    *,
    alone: Key | None = None,
    before: Before | None = None,
    alongside: Alongside | None = None,
    dry_run: bool = False,
    patience: str | None = None,
    now: datetime | None = None,
) -> list[Outcome]:
    """Post 1 to 1,000 intents in one database transaction and return one outcome for each, in order.

    `alongside` writes what must be committed with them; it is given the outcomes, and a round that has one is never
    cut. `alone` is the idempotency key of what it writes; once that is locked `before` looks for an equal request.
    What either raises undoes the round. A dry run does all of it and rolls back. `patience` and `now` are as for
    `settle`. Must not be called inside a database transaction: what it returns is committed.

    Raises:
        PostingContended: a lock was not to be had in time, or conflicts went on; nothing was written.
        PostingTimeout: it took longer than TRANSACTION_TIMEOUT; nothing was written.
        PostingRefused: the database refused a round that is never cut; nothing was written.
    """
    assert 1 <= len(intents) <= ROUND_SIZE_MAX
    try:
        return repeated(lambda: _commit(intents, alone, before, alongside, dry_run=dry_run, patience=patience, now=now))
    except Overdue as error:
        if len(units(intents)) > 1 and alongside is None and not dry_run:
            return _one_by_one(intents, patience, now)
        raise PostingTimeout(retry_after_s=1) from error
    except DatabaseError as error:
        return _answer(intents, error, is_whole=alongside is not None or dry_run, patience=patience, now=now)


def _commit(
    intents: Sequence[Intent],
    alone: Key | None,
    before: Before | None,
    alongside: Alongside | None,
    *,
    dry_run: bool,
    patience: str | None,
    now: datetime | None,
) -> list[Outcome]:
    with transaction.atomic(durable=True), ended_within(settings.TRANSACTION_TIMEOUT):
        isolate()
        settled = settle(intents, alone=alone, before=before, patience=patience, now=now)
        if alongside is not None:
            alongside(settled.outcomes)
        if dry_run:
            transaction.set_rollback(True)
    if not dry_run:
        settled.report()
    return list(settled.outcomes)


def isolate() -> None:
    """Begin a round in the isolation that is configured. Call first in its database transaction."""
    if settings.LEDGER_ISOLATION == "serializable":
        with raw_cursor() as cursor:
            cursor.execute(SERIALIZABLE)


def settle(
    intents: Sequence[Intent],
    *,
    alone: Key | None = None,
    before: Before | None = None,
    patience: str | None = None,
    now: datetime | None = None,
) -> Settled:
    """Lock, judge and write. Call inside a database transaction that has locked nothing else but keys or a lane.

    `patience` is the statement that bounds the wait for a lock, if another than five seconds; one with a key `alone`
    waits a second. `now` decides which holds have ended, and is when what ends by it is completed; without one it is
    the moment of the booking, which the database's clock says in any case.
    """
    if patience is None:
        patience = SET_LOCK_TIMEOUT if alone is None else ROUND_PATIENCE
    found = _lock_and_look(intents, alone, patience)
    if before is not None:
        before()
    posted_at = found.posted_at
    verdicts = judge(intents, found.balances, found.taken, found.standings, now=now or posted_at)
    shapes = write_round(verdicts.judged, posted_at=posted_at) if verdicts.judged else []
    outcomes = [
        Outcome(transaction=shapes[result]) if isinstance(result, int) else result for result in verdicts.results
    ]
    return Settled(verdicts.judged, shapes, outcomes)


def _answer(
    intents: Sequence[Intent], error: DatabaseError, *, is_whole: bool, patience: str | None, now: datetime | None
) -> list[Outcome]:
    """Return what follows from an error for each intent.

    Raises:
        DomainError: for all of them.
    """
    cause = error.__cause__
    if isinstance(cause, pg.LockNotAvailable) and KEY_CONSTRAINT not in (cause.diag.context or ""):
        if is_whole:
            raise PostingContended(retry_after_s=1) from error
        return _around_locked(intents, error, patience, now)
    if not isinstance(cause, (pg.LockNotAvailable, pg.IntegrityError, pg.DataError)):
        raise error
    if len(units(intents)) > 1 and not is_whole:
        return _one_by_one(intents, patience, now)
    refusal = refused(intents[0], cause)
    if is_whole:
        raise refusal from error
    return [Outcome(refusal=refusal)] * len(intents)


class _Found(NamedTuple):
    """What is locked, and what stood there when it was."""

    balances: dict[int, Sums]
    taken: dict[Key, TakenKey]
    standings: dict[UUID, Standing]
    posted_at: datetime


def _lock_and_look(intents: Sequence[Intent], alone: Key | None, patience: str) -> _Found:
    account_ids = {account.id for intent in intents for account in intent.accounts}
    keyed = [intent.key for intent in intents if intent.key is not None]
    targets = {intent.target_id for intent in intents if intent.target_id is not None}
    asked_at = time.perf_counter()
    with (
        raw_cursor() as moved,
        raw_cursor() as locks,
        raw_cursor() as states,
        raw_cursor() as keys,
        raw_cursor() as clock,
    ):
        try:
            with pipeline():
                keys.execute(patience)
                ask_for_keys(keys, shared=keyed, alone=[] if alone is None else [alone])
                if targets:
                    ask_for_targets(moved, targets)
                ask_for_balances(locks, states, account_ids)
                ask_for_known(keys, keyed)
                clock.execute(CLOCK)
        finally:
            POSTING_LOCK_WAIT.observe(time.perf_counter() - asked_at)  # in vain, too
        (now,) = clock.fetchall()[0]
        balances = locked_balances(locks, states)
        # The server's clock may be set back; the books' time does not go back.
        posted_at = max([now, *(sums.last_posted_at for sums in balances.values() if sums.last_posted_at is not None)])
        return _Found(balances, known_keys(keys), standings(moved) if targets else {}, posted_at)


def ask_for_known(cursor: Cursor, keyed: Sequence[Key]) -> None:
    """Send the question which keys are taken, in a pipeline if there is one; `known_keys` reads the answer."""
    cursor.execute(
        KNOWN_KEYS, {"clients": numbers(client for client, _ in keyed), "keys": texts(key for _, key in keyed)}
    )


def known_keys(cursor: Cursor) -> dict[Key, TakenKey]:
    """Return who has the keys that are taken."""
    return {(client, key): TakenKey(request_hash, holder) for client, key, request_hash, holder in cursor.fetchall()}


def _around_locked(
    intents: Sequence[Intent], error: DatabaseError, patience: str | None, now: datetime | None
) -> list[Outcome]:
    """Post those whose accounts nobody else holds, and refuse the others for now.

    Raises:
        PostingContended: for all of them.
    """
    with transaction.atomic(durable=True):
        free = free_balances(account.id for intent in intents for account in intent.accounts)
    are_free = [free.issuperset(account.id for account in intent.accounts) for intent in intents]
    ready = sorted(place for unit in units(intents) if all(are_free[place] for place in unit) for place in unit)
    if len(ready) in (0, len(intents)):
        raise PostingContended(retry_after_s=1) from error
    outcomes = post([intents[place] for place in ready], patience=patience, now=now)
    posted = dict(zip(ready, outcomes, strict=True))
    return [posted.get(place) or Outcome(refusal=PostingContended(retry_after_s=1)) for place in range(len(intents))]


def _one_by_one(intents: Sequence[Intent], patience: str | None, now: datetime | None) -> list[Outcome]:
    """Repeat a round that the database refused, so that the culprit alone fails; after a while, refuse the rest.

    A group stays together: any of it may be the culprit.
    """
    until = time.monotonic() + ONE_BY_ONE_S
    outcomes: dict[int, Outcome] = {}
    for places in units(intents):
        unit = [intents[place] for place in places]
        outcomes.update(zip(places, _alone(unit, until, patience, now), strict=True))
    return [outcomes[place] for place in range(len(intents))]


def _alone(unit: Sequence[Intent], until: float, patience: str | None, now: datetime | None) -> list[Outcome]:
    if time.monotonic() > until:
        return [Outcome(refusal=PostingContended(retry_after_s=1))] * len(unit)
    try:
        return post(unit, patience=patience, now=now)
    except DomainError as refusal:
        return [Outcome(refusal=refusal)] * len(unit)  # those before it are committed: they must hear so


def refused(intent: Intent, cause: pg.Error) -> DomainError:
    """Return the refusal of an intent that the database alone refused, and log it."""
    if isinstance(cause, pg.LockNotAvailable):
        return IdempotencyKeyInUse(retry_after_s=1)
    # Not the whole message: its detail shows the row, with what the client wrote into it.
    log.error(
        "posting.refused",
        transaction_id=str(intent.id),
        sqlstate=cause.sqlstate,
        constraint=cause.diag.constraint_name,
        error=cause.diag.message_primary,
    )
    return PostingRefused(transaction_id=str(intent.id))
