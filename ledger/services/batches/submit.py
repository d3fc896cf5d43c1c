"""Submit batches: at once, in one round and one commit with their rows, or to be posted in turns (spec 000)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import OperationalError, transaction
from psycopg import errors as pg

from config.runtime.deadline import Overdue, ended_within
from config.runtime.errors import DomainError, FieldError
from config.runtime.ids import uuid7
from config.runtime.tracing import outgoing_headers
from ledger.domain.batches import BatchDetailShape, BatchMode, BatchStatus, ItemRefusal, ItemResult
from ledger.domain.states import Status
from ledger.errors import (
    AcceptTimeout,
    BatchRefused,
    BatchTooLarge,
    GroupRefused,
    IdempotencyKeyInUse,
    NotReversible,
    PostingContended,
    PostingRefused,
    PostingTimeout,
    StillProcessing,
)
from ledger.locks import Key, bound_waits
from ledger.models import Batch, Transaction
from ledger.posting.engine import post
from ledger.posting.intents import Outcome
from ledger.queries.accounts import remember_accounts
from ledger.queries.batches import batch_detail, get_batch, item_results, items_of
from ledger.services.batches.checks import ITEMS_MAX, Item, TakenBack, check_items, check_size
from ledger.services.batches.items import BatchHead, Draft, Spoiled, drafted, failing, refused_item
from ledger.services.batches.room import check_room
from ledger.services.batches.rows import write_batch
from ledger.services.idempotency import Claim, find_earlier, keep_key, take_key
from ledger.services.transactions import log_start

OPERATION, REVERSE = "transactions.batch", "batches.reverse"
_NOTHING_BOOKED = (Status.FAILED, Status.VOIDED, Status.EXPIRED, Status.REVERSED)
# The round as a whole was not to be had; item by item most of it is.
_WHOLE_REFUSED = (PostingRefused, PostingTimeout, PostingContended, IdempotencyKeyInUse)


@dataclass(frozen=True, slots=True)
class SubmittedBatch:
    """A batch that is stored: with a result for every item, or on its way.

    `replayed` when an earlier request with the same key stored it.
    """

    batch: BatchDetailShape
    results: Sequence[ItemResult]
    replayed: bool = False

    @property
    def is_running(self) -> bool:
        """Whether items still wait for their turn."""
        return self.batch.status == BatchStatus.PROCESSING

    @property
    def failure(self) -> BatchRefused | None:
        """Why an atomic batch was not applied, naming each item that kept it from that."""
        if self.batch.status != BatchStatus.FAILED:
            return None
        found = failing(self.results)
        return BatchRefused(
            batch_id=str(self.batch.id),
            items=[{"index": index, "code": refusal.code, "detail": refusal.detail} for index, refusal in found],
            errors=tuple(place for index, refusal in found for place in _places(index, refusal)),
        )


def _places(index: int, refusal: ItemRefusal) -> list[FieldError]:
    """Return the places of the batch's body that are wrong: the item, if nothing in it is named."""
    named = [FieldError(one.pointer, one.code, one.detail) for one in refusal.errors]
    return named or [FieldError(f"/items/{index}", refusal.code, refusal.detail)]


class _Earlier(Exception):
    """An equal request was first."""

    def __init__(self, batch_id: UUID) -> None:
        self.batch_id = batch_id
        super().__init__(str(batch_id))


class _Moved(Exception):
    """What is to be taken back is not as it was read: some of it was captured, let go or taken back meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a request asks for; a dry run has no claim."""

    head: BatchHead
    items: Mapping[int, Item]
    claim: Claim | None
    now: datetime

    @property
    def key(self) -> Key | None:
        return None if self.claim is None else (self.head.client_id, self.claim.key)

    def look(self) -> None:
        """Look for an equal request; once the key is locked, the answer stays."""
        if self.claim is not None:
            earlier = find_earlier(client_id=self.head.client_id, claim=self.claim)
            if earlier is not None:
                raise _Earlier(UUID(earlier))

    def look_behind_locks(self) -> None:
        """Look for an equal request, and whether what is to be taken back is as it was read: now both stay so."""
        self.look()
        read = {item.row.pk: item.row.version for item in self.items.values() if isinstance(item, TakenBack)}
        if read and read != dict(Transaction.objects.filter(pk__in=read).values_list("pk", "version")):
            raise _Moved

    def keep(self) -> None:
        """Keep the key, in the commit of the batch."""
        if self.claim is not None:
            keep_key(client_id=self.head.client_id, claim=self.claim, object_id=str(self.head.id))


def submit_batch(
    *,
    client_id: int,
    mode: BatchMode,
    items: Sequence[Item],
    claim: Claim,
    actor: str,
    request_id: str,
    now: datetime,
    respond_async: bool = False,
) -> SubmittedBatch:
    """Post a batch in one commit with its rows and its key, or store it to be posted in turns.

    Stored to be posted is one of mode `partial` for which that is asked, with more than 1,000 items, or whose round the
    database would not take as a whole: then the poster parts it, and the culprit alone is refused.

    Raises:
        Invalid: the batch as a whole breaks a rule; nothing is stored and the key stays unused.
        IdempotencyKeyReused: the key belongs to another request.
        IdempotencyKeyInUse: an equal request has run for five seconds and still does.
        QueueFull: 100,000 items wait already.
        DomainError: of kind BUSY, when it could not be posted or stored in time. Nothing was stored.
    """
    asked = _asked(client_id, mode, items, claim=claim, actor=actor, request_id=request_id, now=now)
    check_size(len(items), mode=mode)
    check_items(items, mode=mode, key=claim.key)
    try:
        # Before any lock: whoever asks again need not wait for those who post.
        asked.look()
        if mode is BatchMode.PARTIAL and (respond_async or len(items) > ITEMS_MAX):
            return _accept(asked)
        return _settle(asked)
    except _Earlier as earlier:
        return _replayed(client_id, earlier.batch_id)


def reverse_batch(
    *, client_id: int, batch_id: UUID, claim: Claim, actor: str, request_id: str, now: datetime
) -> SubmittedBatch:
    """Take back what of a batch is booked and not taken back yet: all of it in one commit, or nothing.

    That is an atomic batch of its own, with a reversal for each transaction.

    Raises:
        NotFound: the client has no such batch.
        StillProcessing: it waits to be posted, at least in part.
        NotReversible: nothing of it is booked.
        BatchTooLarge: it has more than 1,000 transactions.
        IdempotencyKeyReused: the key belongs to another request.
        DomainError: of kind BUSY, when it could not be posted in time. Nothing was stored.
    """
    asked = _asked(client_id, BatchMode.ATOMIC, [], claim=claim, actor=actor, request_id=request_id, now=now)
    try:
        asked.look()
        while True:
            try:
                booked = _booked(get_batch(client_id, batch_id))
            except DomainError:
                asked.look()  # an equal request may have been first meanwhile
                raise
            try:
                return _settle(replace(asked, items=dict(enumerate(booked))))
            except _Moved:
                continue  # what is left now is meant
    except _Earlier as earlier:
        return _replayed(client_id, earlier.batch_id)


def _booked(row: Batch) -> list[TakenBack]:
    """Return what is to be taken back of a batch, the last first: what came in by one may have gone on by the next."""
    ids = items_of(row).filter(replayed=False, transaction__isnull=False).values("transaction_id")
    standing = Transaction.objects.filter(pk__in=ids).select_related("currency")
    rows = list(standing.exclude(status__in=_NOTHING_BOOKED).order_by("-batch_index")[: ITEMS_MAX + 1])
    if row.status == BatchStatus.PROCESSING or any(one.status == Status.PROCESSING for one in rows):
        raise StillProcessing
    if not rows:
        raise NotReversible("Nothing of the batch is booked.")
    if len(rows) > ITEMS_MAX:
        raise BatchTooLarge(f"A batch of more than {ITEMS_MAX} transactions is not taken back as a whole.")
    remember_accounts(account_id for one in rows for account_id in one.legs.account_ids)
    return [TakenBack(one) for one in rows]


def try_batch(
    *,
    client_id: int,
    mode: BatchMode,
    items: Sequence[Item],
    claim: Claim,
    actor: str,
    request_id: str,
    now: datetime,
) -> SubmittedBatch:
    """Return what the posting of a batch would make of it; all of it is done and rolled back.

    Raises:
        BatchRefused: it is atomic and would be refused.
        DomainError: what `submit_batch` would raise, but for the key, which is not looked at.
    """
    check_size(len(items), mode=mode, is_dry=True)
    check_items(items, mode=mode, key=claim.key)
    tried = _post(_asked(client_id, mode, items, claim=None, actor=actor, request_id=request_id, now=now))
    if tried.failure is not None:
        raise tried.failure
    return tried


def _asked(
    client_id: int,
    mode: BatchMode,
    items: Sequence[Item],
    *,
    claim: Claim | None,
    actor: str,
    request_id: str,
    now: datetime,
) -> _Asked:
    head = BatchHead(
        id=uuid7(),
        client_id=client_id,
        mode=mode,
        actor=actor,
        request_id=request_id,
        trace=outgoing_headers().get("traceparent", ""),
    )
    return _Asked(head=head, items=dict(enumerate(items)), claim=claim, now=now)


def _settle(asked: _Asked) -> SubmittedBatch:
    """Post it at once; where the database refuses the round, let the poster find out why."""
    try:
        return _post(asked)
    except _WHOLE_REFUSED as refusal:
        if asked.head.mode is BatchMode.PARTIAL:
            return _accept(asked)
        if not isinstance(refusal, PostingRefused):
            raise
        return _store(asked, {index: refused_item(index, refusal) for index in asked.items})


def _post(asked: _Asked) -> SubmittedBatch:
    refused: dict[int, DomainError] = {}
    while True:
        draft = drafted(asked.head, asked.items, now=asked.now, refused=refused)
        if asked.head.mode is BatchMode.ATOMIC and draft.refusals:
            _name_all(draft)
        draft.refuse_mates()
        if asked.claim is None:  # what the posting would be is asked, not what became of an earlier one
            draft.intents = {index: replace(intent, idempotency_key=None) for index, intent in draft.intents.items()}
        if not draft.intents:
            return _store(asked, draft.results([]))
        try:
            return _post_round(asked, draft)
        except Spoiled as spoiled:
            refused |= spoiled.refusals


def _name_all(draft: Draft) -> None:
    """Find out which others of an atomic batch fail as well, so that its answer names them all."""
    if draft.intents:
        outcomes = post(list(draft.intents.values()), dry_run=True)
        for index, outcome in zip(list(draft.intents), outcomes, strict=True):
            if outcome.refusal is not None and not isinstance(outcome.refusal, GroupRefused):
                draft.refusals[index] = outcome.refusal
                del draft.intents[index]


def _post_round(asked: _Asked, draft: Draft) -> SubmittedBatch:
    written: list[SubmittedBatch] = []

    def write(outcomes: Sequence[Outcome]) -> None:
        written[:] = [_write(asked, draft.results(outcomes))]

    if asked.claim is not None:
        log_start(draft.intents.values())
    post(
        list(draft.intents.values()),
        alone=asked.key,
        before=asked.look_behind_locks,
        alongside=write,
        dry_run=asked.claim is None,
    )
    return written[0]


def _accept(asked: _Asked) -> SubmittedBatch:
    """Store a batch to be posted in turns; what is refused without posting has its result at once."""
    draft = drafted(asked.head, asked.items, now=asked.now)
    draft.refuse_mates()
    draft.intents.clear()
    return _store(asked, draft.results([]))


def _store(asked: _Asked, results: Mapping[int, ItemResult]) -> SubmittedBatch:
    """Store a batch of which nothing is posted now, in a commit of its own.

    Raises:
        _Earlier: an equal request was first.
    """
    try:
        with transaction.atomic(durable=True), ended_within(settings.TRANSACTION_TIMEOUT):
            bound_waits()
            if asked.claim is not None:
                earlier = take_key(client_id=asked.head.client_id, claim=asked.claim)
                if earlier is not None:
                    raise _Earlier(UUID(earlier))
            check_room(len(asked.items) - len(results))
            stored = _write(asked, results)
            if asked.claim is None:
                transaction.set_rollback(True)
    except Overdue as error:
        raise AcceptTimeout(retry_after_s=1) from error
    except OperationalError as error:
        if not isinstance(error.__cause__, pg.LockNotAvailable):
            raise
        raise IdempotencyKeyInUse(retry_after_s=1) from error
    return stored


def _write(asked: _Asked, results: Mapping[int, ItemResult]) -> SubmittedBatch:
    row = write_batch(asked.head, asked.items, results, created_at=asked.now)
    asked.keep()
    ordered = list(results.values())
    return SubmittedBatch(batch_detail(row, ordered), ordered)


def _replayed(client_id: int, batch_id: UUID) -> SubmittedBatch:
    row: Batch = get_batch(client_id, batch_id)
    is_running = row.status == BatchStatus.PROCESSING
    results = [] if is_running else item_results(items_of(row).order_by("index"))
    return SubmittedBatch(batch_detail(row), results, replayed=True)
