"""The one engine: lock the balances in order, judge in memory, write set-wise (design §4). One is a batch of one.

1. Lock every balance of the round, in the order of the accounts; then read account states, taken keys, the clock.
2. Judge the intents one after the other.
3. Write transactions, journals with lines, history and outbox rows; the guards of the database check all of it.
4. Commit. What a conflict undid is repeated; what the database refused is repeated one by one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError, transaction
from psycopg import errors as pg

from config.runtime.arrays import numbers, texts
from config.runtime.clock import rfc3339
from config.runtime.database import pipeline, raw_cursor
from config.runtime.errors import DomainError
from config.runtime.logging import get_logger
from config.runtime.sql import sql_file
from ledger.domain.balances import Sums
from ledger.errors import IdempotencyKeyInUse, PostingContended, PostingRefused
from ledger.locks import SET_LOCK_TIMEOUT, ask_for_balances, ask_for_keys, free_balances, locked_balances
from ledger.posting.intents import Intent, Outcome
from ledger.posting.judge import Key, TakenKey, judge
from ledger.posting.report import report_outcomes
from ledger.posting.shape import transaction_shape
from ledger.posting.write import write_round

ROUND_SIZE_MAX = 1000
ATTEMPTS_MAX = 5
ONE_BY_ONE_S = 10
KEY_CONSTRAINT = "transaction_key_once"
KNOWN_KEYS = sql_file("ledger/posting", "known_keys")
# No SELECT may come before it, which is why it is a command of its own.
SERIALIZABLE = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
CLOCK = "SELECT clock_timestamp()"

log = get_logger()


def post(intents: Sequence[Intent]) -> list[Outcome]:
    """Post 1 to 1,000 intents in one database transaction and return one outcome for each, in order.

    Must not be called inside a database transaction: what it returns is committed.

    Raises:
        PostingContended: a lock was not to be had in 5 s, or conflicts went on; nothing was written.
    """
    assert 1 <= len(intents) <= ROUND_SIZE_MAX
    for attempt in range(ATTEMPTS_MAX):
        if attempt:
            time.sleep(random.uniform(0.001, 0.01) * 2**attempt)  # noqa: S311  (jitter)
        try:
            return _round(intents)
        except DatabaseError as error:
            outcomes = _answer(intents, error)
            if outcomes is not None:
                return outcomes
    raise PostingContended(retry_after_s=1)


def _answer(intents: Sequence[Intent], error: DatabaseError) -> list[Outcome] | None:
    """Return what follows from an error for each intent, or None when the round may simply run again."""
    cause = error.__cause__
    if _is_repeatable(cause):
        return None
    if isinstance(cause, pg.LockNotAvailable) and KEY_CONSTRAINT not in (cause.diag.context or ""):
        return _around_locked(intents, error)
    if not isinstance(cause, (pg.LockNotAvailable, pg.IntegrityError, pg.DataError)):
        raise error
    return [_refused(intents[0], cause)] if len(intents) == 1 else _one_by_one(intents)


def _round(intents: Sequence[Intent]) -> list[Outcome]:
    with transaction.atomic(durable=True):
        balances, taken, posted_at = _lock_and_look(intents)
        verdicts = judge(intents, balances, taken)
        moment = rfc3339(posted_at)
        shapes = [transaction_shape(one, posted_at=moment) for one in verdicts.judged]
        if verdicts.judged:
            write_round(verdicts.judged, shapes, posted_at=posted_at)
    report_outcomes(verdicts.judged, shapes)
    return [Outcome(transaction=shapes[result]) if isinstance(result, int) else result for result in verdicts.results]


def _lock_and_look(intents: Sequence[Intent]) -> tuple[dict[int, Sums], dict[Key, TakenKey], datetime]:
    account_ids = {account.id for intent in intents for account in (intent.debit, intent.credit)}
    keyed = [(intent.client_id, intent.idempotency_key) for intent in intents if intent.idempotency_key is not None]
    with raw_cursor() as locks, raw_cursor() as states, raw_cursor() as keys, raw_cursor() as clock:
        with pipeline():
            if settings.LEDGER_ISOLATION == "serializable":
                keys.execute(SERIALIZABLE)
            keys.execute(SET_LOCK_TIMEOUT)
            ask_for_keys(keys, shared=keyed)
            ask_for_balances(locks, states, account_ids)
            keys.execute(
                KNOWN_KEYS, {"clients": numbers(client for client, _ in keyed), "keys": texts(key for _, key in keyed)}
            )
            clock.execute(CLOCK)
        taken = {(client, key): TakenKey(request_hash, holder) for client, key, request_hash, holder in keys}
        (now,) = clock.fetchall()[0]
        balances = locked_balances(locks, states)
        # The server's clock may be set back; the books' time does not go back.
        posted_at = max([now, *(sums.last_posted_at for sums in balances.values() if sums.last_posted_at is not None)])
        return balances, taken, posted_at


def _is_repeatable(cause: BaseException | None) -> bool:
    """Whether another round was first: ours changed nothing, and run again it will see that round."""
    if isinstance(cause, pg.UniqueViolation):
        return cause.diag.constraint_name == KEY_CONSTRAINT
    return isinstance(cause, (pg.SerializationFailure, pg.DeadlockDetected))


def _around_locked(intents: Sequence[Intent], error: DatabaseError) -> list[Outcome]:
    """Post those whose accounts nobody else holds, and refuse the others for now.

    Raises:
        PostingContended: for all of them.
    """
    with transaction.atomic(durable=True):
        free = free_balances(account.id for intent in intents for account in (intent.debit, intent.credit))
    ready = [intent for intent in intents if {intent.debit.id, intent.credit.id} <= free]
    if len(ready) in (0, len(intents)):
        raise PostingContended(retry_after_s=1) from error
    posted = dict(zip((intent.id for intent in ready), post(ready), strict=True))
    return [posted.get(intent.id) or Outcome(refusal=PostingContended(retry_after_s=1)) for intent in intents]


def _one_by_one(intents: Sequence[Intent]) -> list[Outcome]:
    """Repeat a round that the database refused, so that the culprit alone fails; after a while, refuse the rest."""
    until = time.monotonic() + ONE_BY_ONE_S
    return [_alone(intent, until) for intent in intents]


def _alone(intent: Intent, until: float) -> Outcome:
    if time.monotonic() > until:
        return Outcome(refusal=PostingContended(retry_after_s=1))
    try:
        return post([intent])[0]
    except DomainError as refusal:
        return Outcome(refusal=refusal)  # those before it are committed: they must hear so


def _refused(intent: Intent, cause: pg.Error) -> Outcome:
    if isinstance(cause, pg.LockNotAvailable):
        return Outcome(refusal=IdempotencyKeyInUse(retry_after_s=1))
    # Not the whole message: its detail shows the row, with what the client wrote into it.
    log.error(
        "posting.refused",
        transaction_id=str(intent.id),
        sqlstate=cause.sqlstate,
        constraint=cause.diag.constraint_name,
        error=cause.diag.message_primary,
    )
    return Outcome(refusal=PostingRefused(transaction_id=str(intent.id)))
