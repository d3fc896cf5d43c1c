"""Submit transactions: check what was asked, find its accounts, and hand it to the engine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.transaction import TransactionManagementError

from config.runtime.batching import MicroBatcher, NotBegun, OutcomeUnknown, QueueFull
from config.runtime.database import release_connections
from config.runtime.errors import DomainError
from config.runtime.ids import uuid7
from config.runtime.lifecycle import Step, lifecycle
from config.runtime.metrics import RECEIPT_BATCH_LATENCY, RECEIPT_BATCH_SIZE
from config.runtime.tracing import outgoing_headers
from ledger.domain.accounts import AccountRef
from ledger.domain.money import AmountInvalid, format_amount, parse_positive_amount
from ledger.domain.receipts import receipt_code
from ledger.domain.shapes import AUTOMATIC, MANUAL, TransactionShape
from ledger.errors import (
    AMOUNT_REFUSALS,
    AcceptTimeout,
    AccountUnknown,
    CurrencyMismatch,
    CurrencyUnknown,
    EffectiveInFuture,
    EffectiveOutOfRange,
    ExecuteAtInDryRun,
    ExecuteTooFar,
    ExpiresOutOfRange,
    ExpiresUnasked,
    SameAccount,
    TypeUnknown,
    failure_of,
)
from ledger.kinds import KINDS
from ledger.locks import patience
from ledger.posting.accept import accept
from ledger.posting.engine import ROUND_SIZE_MAX, post
from ledger.posting.intents import Intent, Outcome
from ledger.posting.queue import note_refusal
from ledger.queries.accounts import exponent_of, find_accounts
from ledger.queries.transactions import shown_transactions

EFFECTIVE_AHEAD_MAX = timedelta(minutes=5)
EXECUTE_AHEAD_MAX = timedelta(days=366)
HOLD_LASTS, HOLD_LASTS_MAX = timedelta(days=7), timedelta(days=31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A transaction as a door was asked for it: accounts by id or path, the amount as text in major units.

    `group` names those of a batch that are booked together or not at all.
    """

    type: str
    debit_account: str
    credit_account: str
    amount: str
    currency: str
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    effective_at: datetime | None = None
    execute_at: datetime | None = None
    capture: str = AUTOMATIC
    expires_at: datetime | None = None
    group: str | None = None
    idempotency_key: str | None = None
    request_hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """A transaction that stands in the books; `replayed` when an earlier request with the same key put it there."""

    transaction: TransactionShape
    replayed: bool

    @property
    def failure(self) -> DomainError | None:
        """Why it failed, if it did."""
        return failure_in(self.transaction)


def failure_in(shape: TransactionShape) -> DomainError | None:
    """Return why a transaction failed, if it did."""
    if shape.error is None:
        return None
    return failure_of(shape.error.code, transaction_id=str(shape.id), receipt_code=shape.receipt_code)


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
    """Return what the booking of a transaction would make of it; all of it is done and rolled back.

    Raises:
        ExecuteAtInDryRun: it would be booked later, by what stands then.
        DomainError: what the booking would be refused with, or would fail with.
    """
    intent = _looked_up(client_id, submission, actor=actor, request_id=request_id, now=now)
    if intent.execute_at is not None:
        raise ExecuteAtInDryRun.at("/execute_at")
    tried = settled_or_raised(post([intent], dry_run=True)[0])
    if tried.transaction.error is not None:
        raise failure_of(tried.transaction.error.code)
    return tried.transaction


def _looked_up(client_id: int, submission: Submission, *, actor: str, request_id: str, now: datetime) -> Intent:
    if connection.in_atomic_block:
        raise TransactionManagementError("Another thread commits this: call it outside of database transactions.")
    accounts = find_accounts(client_id, (submission.debit_account, submission.credit_account))
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
) -> list[Submitted | DomainError]:
    """Post up to 1,000 transactions in one commit and return the outcome of each, in order.

    What would be raised for one is returned in its place; the others are posted.

    Raises:
        PostingContended: other postings kept the round from finishing; nothing of it was stored.
    """
    assert len(submissions) <= ROUND_SIZE_MAX
    names = {name for one in submissions for name in (one.debit_account, one.credit_account)}
    accounts = find_accounts(client_id, names)
    results: list[Submitted | DomainError | None] = [None] * len(submissions)
    intents: dict[int, Intent] = {}
    for index, submission in enumerate(submissions):
        try:
            intents[index] = intent_of(client_id, submission, accounts, actor=actor, request_id=request_id, now=now)
        except DomainError as refusal:
            results[index] = refusal
    if intents:
        log_start(intents.values())
        for index, outcome in zip(intents, _settled(post(list(intents.values()))), strict=True):
            results[index] = outcome
    return [result for result in results if result is not None]


def intent_of(
    client_id: int,
    submission: Submission,
    accounts: Mapping[str, AccountRef],
    *,
    actor: str,
    request_id: str,
    now: datetime,
) -> Intent:
    if submission.type not in KINDS or not KINDS[submission.type].is_asked_by_name:
        raise TypeUnknown.at("/type", detail=f"There is no type {submission.type!r}.")
    debit = _account(accounts, "/debit_account", submission.debit_account)
    credit = _account(accounts, "/credit_account", submission.credit_account)
    if debit is credit or debit.id == credit.id:
        raise SameAccount.at("/credit_account")
    amount_minor = _amount(submission, debit, credit)
    execute_at = _execute_at(submission.execute_at, now)
    expires_at = _expires_at(submission, execute_at or now)
    return Intent(
        id=uuid7(),
        client_id=client_id,
        type=submission.type,
        amount_minor=amount_minor,
        debit=debit,
        credit=credit,
        idempotency_key=submission.idempotency_key,
        request_hash=submission.request_hash,
        reference=submission.reference,
        description=submission.description,
        metadata=submission.metadata,
        effective_at=_effective_at(submission.effective_at, now) or execute_at,
        execute_at=execute_at,
        expires_at=expires_at,
        group=submission.group,
        actor=actor,
        request_id=request_id,
        trace=outgoing_headers().get("traceparent", ""),
    )


def _account(accounts: Mapping[str, AccountRef], pointer: str, name: str) -> AccountRef:
    if name not in accounts:
        raise AccountUnknown.at(pointer, detail=f"There is no account {name!r}.")
    return accounts[name]


def _amount(submission: Submission, debit: AccountRef, credit: AccountRef) -> int:
    exponent = exponent_of(submission.currency)
    if exponent is None:
        raise CurrencyUnknown.at("/currency", detail=f"There is no currency {submission.currency!r}.")
    for account in (debit, credit):
        if account.currency != submission.currency:
            raise CurrencyMismatch.at("/currency", detail=f"Account {account.path} is in {account.currency}.")
    try:
        return parse_positive_amount(submission.amount, exponent=exponent)
    except AmountInvalid as error:
        raise AMOUNT_REFUSALS[error.code].at("/amount", detail=str(error)) from error


def _effective_at(moment: datetime | None, now: datetime) -> datetime | None:
    if moment is None:
        return None
    if moment > now + EFFECTIVE_AHEAD_MAX:
        raise EffectiveInFuture.at("/effective_at")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise EffectiveOutOfRange.at("/effective_at") from error


def _execute_at(moment: datetime | None, now: datetime) -> datetime | None:
    """Return when it is to be executed, None for at once: a time that has passed by now asks for nothing else."""
    if moment is None or moment <= now:
        return None
    if moment > now + EXECUTE_AHEAD_MAX:
        raise ExecuteTooFar.at("/execute_at")
    return moment.astimezone(UTC)


def _expires_at(submission: Submission, held_at: datetime) -> datetime | None:
    """Return when what is held ends; None for what is booked at once."""
    if submission.capture != MANUAL:
        if submission.expires_at is not None:
            raise ExpiresUnasked.at("/expires_at")
        return None
    if submission.expires_at is None:
        return held_at + HOLD_LASTS
    if not held_at < submission.expires_at <= held_at + HOLD_LASTS_MAX:
        raise ExpiresOutOfRange.at("/expires_at")
    return submission.expires_at.astimezone(UTC)


def log_start(intents: Iterable[Intent]) -> None:
    lifecycle("transaction.start", (_step(intent) for intent in intents))


def _step(intent: Intent) -> Step:
    return Step(
        receipt=receipt_code(intent.id),
        request_id=intent.request_id,
        type=intent.type,
        amount=format_amount(intent.amount_minor, exponent=intent.debit.exponent),
        currency=intent.debit.currency,
        accounts=len(intent.accounts),
    )


def _settled(outcomes: Sequence[Outcome]) -> list[Submitted | DomainError]:
    """Turn outcomes into answers; what was posted before is read as it is now."""
    earlier: list[UUID] = [outcome.replay_of for outcome in outcomes if outcome.replay_of is not None]
    known = shown_transactions(earlier) if earlier else {}
    return [_settle(outcome, known) for outcome in outcomes]


def _settle(outcome: Outcome, known: Mapping[UUID, TransactionShape]) -> Submitted | DomainError:
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
