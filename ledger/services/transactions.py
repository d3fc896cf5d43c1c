"""Submit transactions: check what was asked, find its accounts, and hand it to the engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError

from config.runtime.batching import MicroBatcher, NotBegun, OutcomeUnknown, QueueFull
from config.runtime.database import release_connections
from config.runtime.errors import DomainError
from config.runtime.lifecycle import Step, lifecycle
from config.runtime.metrics import RECEIPT_BATCH_LATENCY, RECEIPT_BATCH_SIZE
from ledger.domain.money import format_amount
from ledger.domain.receipts import receipt_code
from ledger.domain.shapes import TransactionShape
from ledger.errors import (
    AcceptTimeout,
    ExecuteAtInDryRun,
    failure_of,
)
from ledger.lists import bump_stored
from ledger.locks import patience
from ledger.posting.accept import accept
from ledger.posting.engine import ROUND_SIZE_MAX, post
from ledger.posting.intents import Intent, Outcome
from ledger.posting.queue import note_refusal
from ledger.queries.accounts import find_accounts
from ledger.queries.transactions import shown_transactions
from ledger.services.intents import intent_of
from ledger.services.legs import account_names
from ledger.services.submissions import Submission


@dataclass(frozen=True, slots=True)
class Submitted:
    """A transaction that stands in the books; `replayed` when an earlier request with the same key put it there."""

    transaction: TransactionShape
    replayed: bool

    @property
    def failure(self) -> DomainError | None:
        """Why it failed, if it did."""
        return failure_in(self.transaction)


Result = Submitted | DomainError


def failure_in(shape: TransactionShape) -> DomainError | None:
    """Return why a transaction failed, if it did."""
    if shape.error is None:
        return None
    error, names = shape.error, {"transaction_id": str(shape.id), "receipt_code": shape.receipt_code}
    return failure_of(error.code, error.pointer, **names)


class _Waiting(NamedTuple):
    """An intent whose booking is waited for until that moment of `time.monotonic()`."""

    intent: Intent
    until: float


def submit_transaction(
    *, client_id: int, submission: Submission, actor: str, request_id: str, now: datetime, wait_s: float | None
) -> Submitted:
    """Accept a transaction, or wait up to `wait_s` for its booking; it shares its commit with those of other threads.

    Accepted it is `processing` and is posted soon after, or when `execute_at` has come. One that is waited for and that
    the books refuse is stored as failed and returned; `Submitted.failure` names the reason. When the wait is over
    before its group has begun, it is accepted; once begun, locks are waited for as long as the most patient of the
    group waits, at most five seconds.

    Raises:
        Invalid: a field, or an account that the body names; nothing is stored and the key stays unused.
        IdempotencyKeyReused: the key belongs to another request.
        DomainError: of kind CONFLICT, when accepting it makes no sense now; of kind BUSY, when it could not be
            accepted or posted in time. Nothing was stored.
    """
    intent = _looked_up(client_id, submission, actor=actor, request_id=request_id, now=now)
    try:
        if wait_s is None or intent.execute_at is not None:
            return _accepted(intent)
        try:
            waiting = _Waiting(intent, time.monotonic() + wait_s)
            return settled_or_raised(_posting.submit(waiting, timeout_s=wait_s))
        except NotBegun:
            return _accepted(intent)
    except QueueFull:
        note_refusal(_step(intent))
        raise


def try_transaction(
    *, client_id: int, submission: Submission, actor: str, request_id: str, now: datetime
) -> TransactionShape:
    """Return what the booking of a transaction would make of it; all is done and rolled back, and no key looked at.

    Raises:
        ExecuteAtInDryRun: it would be booked later, by what stands then.
        DomainError: what the booking would be refused with, or would fail with.
    """
    intent = _looked_up(client_id, submission, actor=actor, request_id=request_id, now=now)
    if intent.execute_at is not None:
        raise ExecuteAtInDryRun.at("/execute_at")
    # Without its key: what the booking would be is asked, not what became of an earlier one.
    tried = settled_or_raised(post([replace(intent, idempotency_key=None)], dry_run=True)[0])
    error = tried.transaction.error
    if error is not None:
        raise failure_of(error.code, error.pointer)
    return tried.transaction


def _looked_up(client_id: int, submission: Submission, *, actor: str, request_id: str, now: datetime) -> Intent:
    if connection.in_atomic_block:
        raise TransactionManagementError("Another thread commits this: call it outside of database transactions.")
    accounts = find_accounts(client_id, account_names([submission]))
    intent = intent_of(client_id, submission, accounts, actor=actor, request_id=request_id, now=now)
    # The commit that this thread waits for needs a connection of the same pool.
    release_connections()
    return intent


def _accepted(intent: Intent) -> Submitted:
    try:
        return settled_or_raised(_accepting.submit(intent, timeout_s=settings.RECEIPT_TIMEOUT))
    except (NotBegun, OutcomeUnknown) as error:
        raise AcceptTimeout(retry_after_s=1) from error


def settled_or_raised(outcome: Outcome) -> Submitted:
    """Return what stands in the books, or raise the refusal."""
    result = _settled([outcome])[0]
    if isinstance(result, DomainError):
        raise result
    return result


def submit_transactions(
    *, client_id: int, submissions: Sequence[Submission], actor: str, request_id: str = "", now: datetime
) -> list[Result]:
    """Post up to 1,000 transactions in one commit and return the outcome of each, in order.

    What would be raised for one is returned in its place; the others are posted.

    Raises:
        PostingContended: other postings kept the round from finishing; nothing of it was stored.
    """
    intents, results = _intents(client_id, submissions, actor=actor, request_id=request_id, now=now)
    if intents:
        results |= zip(intents, _settled(post(list(intents.values()))), strict=True)
    return [results[index] for index in range(len(submissions))]


def submit_with(
    alongside: Callable[[Sequence[Result]], None],
    *,
    client_id: int,
    submissions: Sequence[Submission],
    traces: Sequence[str],
    actor: str,
    now: datetime,
) -> None:
    """Post transactions as `submit_transactions` does, and in their commit what `alongside` writes of the outcomes.

    What it raises undoes the commit. `traces` are those of who asked for each. What is to be executed later is accepted
    before, in a commit of its own.

    Raises:
        PostingContended: other postings kept the round from finishing; nothing of it was stored.
        PostingRefused: the database refused the round, which is never cut; nothing of it was stored.
    """
    intents, results = _intents(client_id, submissions, actor=actor, request_id="", now=now)
    traced = {index: replace(intent, trace=traces[index] or intent.trace) for index, intent in intents.items()}
    later = {index: intent for index, intent in traced.items() if intent.execute_at is not None}
    if later:
        results |= zip(later, _settled(accept(list(later.values()))), strict=True)
    due = {index: intent for index, intent in traced.items() if index not in later}

    def write(outcomes: Sequence[Outcome]) -> None:
        found = results | dict(zip(due, _settled(outcomes), strict=True))
        alongside([found[index] for index in range(len(submissions))])

    if due:
        post(list(due.values()), alongside=write)
        return
    with transaction.atomic(durable=True):
        write([])


def _intents(
    client_id: int, submissions: Sequence[Submission], *, actor: str, request_id: str, now: datetime
) -> tuple[dict[int, Intent], dict[int, Result]]:
    """Return the intents of submissions by their index, and in the places of the others what they are refused with."""
    assert len(submissions) <= ROUND_SIZE_MAX
    accounts = find_accounts(client_id, account_names(submissions))
    intents, refusals = dict[int, Intent](), dict[int, Result]()
    for index, submission in enumerate(submissions):
        try:
            intents[index] = intent_of(client_id, submission, accounts, actor=actor, request_id=request_id, now=now)
        except DomainError as refusal:
            refusals[index] = refusal
    log_start(intents.values())
    return intents, refusals


def log_start(intents: Iterable[Intent]) -> None:
    lifecycle("transaction.start", (_step(intent) for intent in intents))


def _step(intent: Intent) -> Step:
    return Step(
        receipt=receipt_code(intent.id),
        request_id=intent.request_id,
        type=intent.type,
        amount=format_amount(intent.amount_minor, exponent=intent.exponent),
        currency=intent.currency,
        accounts=len(intent.accounts),
    )


def _settled(outcomes: Sequence[Outcome]) -> list[Result]:
    """Turn outcomes into answers; what was posted before is read as it is now."""
    earlier: list[UUID] = [outcome.replay_of for outcome in outcomes if outcome.replay_of is not None]
    known = shown_transactions(earlier) if earlier else {}
    if earlier:
        # Who was first may have died before it could.
        transaction.on_commit(partial(bump_stored, earlier))
    return [_settle(outcome, known) for outcome in outcomes]


def _settle(outcome: Outcome, known: Mapping[UUID, TransactionShape]) -> Result:
    if outcome.refusal is not None:
        return outcome.refusal
    if outcome.replay_of is not None:
        return Submitted(known[outcome.replay_of], replayed=True)
    assert outcome.transaction is not None
    return Submitted(outcome.transaction, replayed=False)


@contextmanager
def _one_commit(intents: Sequence[Intent]) -> Iterator[None]:
    """Surround the work of a batcher, whose thread keeps no connection between groups."""
    log_start(intents)
    try:
        yield
    finally:
        release_connections()


def _post_group(group: Sequence[_Waiting]) -> list[Outcome]:
    intents = [one.intent for one in group]
    left_s = max(one.until for one in group) - time.monotonic()
    with _one_commit(intents):
        return post(intents, patience=patience(left_s))


def _accept_group(intents: Sequence[Intent]) -> list[Outcome]:
    with _one_commit(intents):
        return accept(intents)


def _observe(size: int, seconds: float) -> None:
    RECEIPT_BATCH_SIZE.observe(size)
    RECEIPT_BATCH_LATENCY.observe(seconds)


_posting: MicroBatcher[_Waiting, Outcome] = MicroBatcher(
    name="posting",
    flush=_post_group,
    size_max=settings.RECEIPT_BATCH_SIZE,
    linger_s=settings.BATCH_FLUSH_INTERVAL,
    observe=_observe,
)
# Who waits to be accepted has been told of RECEIPT_TIMEOUT, also where the group has begun.
_accepting: MicroBatcher[Intent, Outcome] = MicroBatcher(
    name="accepting",
    flush=_accept_group,
    size_max=settings.RECEIPT_BATCH_SIZE,
    linger_s=settings.BATCH_FLUSH_INTERVAL,
    group_timeout_s=0.0,
    observe=_observe,
)
