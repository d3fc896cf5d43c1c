"""From the items of a batch to intents, and from their outcomes to results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from config.runtime.errors import DomainError
from ledger.domain.accounts import AccountRef
from ledger.domain.batches import BatchMode, ItemRefusal, ItemResult, PlaceShape
from ledger.domain.states import Status
from ledger.errors import (
    ExecuteAtInBatch,
    GroupRefused,
    HoldExpired,
    HoldVoided,
    IdempotencyKeyInUse,
    failure_of,
    failure_shape,
)
from ledger.posting.intents import Intent, Outcome
from ledger.queries.accounts import find_accounts
from ledger.queries.transactions import shown_transactions
from ledger.services.batches.checks import Item, TakenBack, Unreadable
from ledger.services.intents import intent_of
from ledger.services.legs import account_names
from ledger.services.reversals import Reversal, reversal_intent
from ledger.services.submissions import Submission

_NOT_BOOKED: dict[str, type[DomainError]] = {
    Status.PROCESSING: IdempotencyKeyInUse,
    Status.VOIDED: HoldVoided,
    Status.EXPIRED: HoldExpired,
}
# The one group of an atomic batch.
WHOLE = "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchHead:
    """Which batch it is, whose, and who asked for it."""

    id: UUID
    client_id: int
    mode: BatchMode
    actor: str
    request_id: str
    trace: str

    def group_of(self, item: Item) -> str | None:
        """Return the label of what is booked together with an item."""
        return WHOLE if self.mode is BatchMode.ATOMIC else item.group


class Spoiled(Exception):
    """Items of groups replay what is not booked, so that their groups cannot be booked either: the round is undone."""

    def __init__(self, refusals: Mapping[int, DomainError]) -> None:
        self.refusals = refusals
        super().__init__(f"{len(refusals)} items")


@dataclass(slots=True)
class Draft:
    """Items on their way, by their index in the batch: what is to be posted, and what is refused without that."""

    head: BatchHead
    items: Mapping[int, Item]
    intents: dict[int, Intent] = field(default_factory=dict)
    refusals: dict[int, DomainError] = field(default_factory=dict)

    def refuse_mates(self) -> None:
        """Post nothing of a group of which an item is refused."""
        spoiled = {self.head.group_of(self.items[index]) for index in self.refusals} - {None}
        for index in [index for index, intent in self.intents.items() if intent.group in spoiled]:
            del self.intents[index]
            self.refusals[index] = GroupRefused()

    def results(self, outcomes: Sequence[Outcome]) -> dict[int, ItemResult]:
        """Return what became of every item, in the batch's order; call in the database transaction of the round.

        Raises:
            Spoiled: a group would be booked without an item that replays a failure.
        """
        earlier = {
            index: outcome.replay_of
            for index, outcome in zip(self.intents, outcomes, strict=True)
            if outcome.replay_of is not None
        }
        replayed = self._replayed(earlier) if earlier else {}
        found = {index: refused_item(index, refusal) for index, refusal in self.refusals.items()}
        for index, outcome in zip(self.intents, outcomes, strict=True):
            if outcome.refusal is not None:
                found[index] = refused_item(index, outcome.refusal)
            else:
                found[index] = replayed.get(index) or ItemResult(index=index, transaction=outcome.transaction)
        return dict(sorted(found.items()))

    def _replayed(self, earlier: Mapping[int, UUID]) -> dict[int, ItemResult]:
        shapes = shown_transactions(earlier.values())
        results = {
            index: ItemResult(index=index, transaction=shapes[transaction_id], replayed=True)
            for index, transaction_id in earlier.items()
        }
        refusals = {
            index: refusal
            for index, result in results.items()
            if self.intents[index].group is not None and (refusal := _unbooked(result)) is not None
        }
        if refusals:
            raise Spoiled(refusals)
        return results


def drafted(
    head: BatchHead, items: Mapping[int, Item], *, now: datetime, refused: Mapping[int, DomainError] | None = None
) -> Draft:
    """Return what can be posted of these items, by index; those `refused` before stay so. One query for all accounts.

    Groups are whole until `Draft.refuse_mates`.
    """
    accounts = find_accounts(
        head.client_id, account_names(item for item in items.values() if isinstance(item, Submission))
    )
    draft = Draft(head, items, refusals=dict(refused or {}))
    for index, item in items.items():
        if index not in draft.refusals:
            try:
                draft.intents[index] = _intent(head, index, item, accounts, now)
            except DomainError as refusal:
                draft.refusals[index] = refusal
    return draft


def _intent(head: BatchHead, index: int, item: Item, accounts: Mapping[str, AccountRef], now: datetime) -> Intent:
    if isinstance(item, Unreadable):
        raise item.refusal
    if isinstance(item, TakenBack):
        intent = reversal_intent(item.row, Reversal(), actor=head.actor, request_id=head.request_id)
        return replace(intent, batch_id=head.id, batch_index=index, group=head.group_of(item), trace=head.trace)
    if item.execute_at is not None:
        raise ExecuteAtInBatch.at("/execute_at")
    intent = intent_of(head.client_id, item, accounts, actor=head.actor, request_id=head.request_id, now=now)
    return replace(intent, batch_id=head.id, batch_index=index, group=head.group_of(item), trace=head.trace)


def _unbooked(result: ItemResult) -> DomainError | None:
    """Return what keeps a group from being booked with this replay in it."""
    shape = result.transaction
    if shape is None:
        return None
    if shape.error is not None:
        return failure_of(shape.error.code, shape.error.pointer)
    refusal = _NOT_BOOKED.get(shape.status)
    return None if refusal is None else refusal()


def refused_item(index: int, refusal: DomainError) -> ItemResult:
    """Return the result of an item that has no transaction."""
    return ItemResult(
        index=index,
        refusal=ItemRefusal(
            kind=refusal.kind, code=refusal.code, detail=refusal.detail, errors=places_of(index, refusal)
        ),
    )


def places_of(index: int, failure: DomainError) -> list[PlaceShape]:
    """Return places in an item as places in the batch."""
    return [PlaceShape(f"/items/{index}{at.pointer}", at.code, at.detail) for at in failure.errors]


def refusal_after(code: str, attempts: int) -> ItemRefusal:
    """Return why an item is given up that so many tries did not get booked."""
    shape = failure_shape(code, attempts)
    return ItemRefusal(kind=failure_of(code).kind, code=code, detail=shape.detail, retryable=shape.retryable)


def failing(results: Iterable[ItemResult]) -> list[tuple[int, ItemRefusal]]:
    """Return the items that kept an atomic batch from being booked, without those that only share its lot."""
    refused = [(result.index, result.refusal) for result in results if result.refusal is not None]
    return [(index, refusal) for index, refusal in refused if refusal.code != GroupRefused.code]
