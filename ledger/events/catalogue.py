"""Every type of event that is told, a class each: what it means, its version, and what its data is.

A version grows when something that was there goes or changes its meaning; what is added keeps it.
"""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from msgspec import Struct

from ledger.domain.batches import BatchShape
from ledger.domain.shapes import AccountShape, TransactionEventShape
from ledger.events.shapes import DeadLetterShape
from ledger.events.types import EventType

SCHEMA = "urn:countinghouse:event:{type}:{version}"


class Attributes(Struct, frozen=True, kw_only=True):
    """What every message says beside its data: CloudEvents 1.0 and its documented extensions.

    `source` names the platform and the client whose event it is. Messages of one `partitionkey`, an account or the
    object itself, keep their order; `sequence` counts them without a gap, as 20 digits, so that texts sort as numbers
    do. `position` is the event's place among all of the platform's. `traceparent` is missing where nobody traces.
    """

    specversion: str
    id: UUID
    source: str
    time: str
    subject: str
    datacontenttype: str
    dataschema: str
    partitionkey: str
    sequence: str
    position: int
    traceparent: str | None = None


class Told(Attributes, frozen=True, kw_only=True, tag_field="type"):
    """An event of a type of this catalogue."""

    version: ClassVar[int] = 1


class TransactionPending(Told, frozen=True, kw_only=True, tag=EventType.TRANSACTION_PENDING.value):
    """Its funds are held, until they are captured or voided or their time is over."""

    data: TransactionEventShape


class TransactionCompleted(Told, frozen=True, kw_only=True, tag=EventType.TRANSACTION_COMPLETED.value):
    """It is booked; of a hold: captured in full, or in part with the rest released."""

    data: TransactionEventShape


class TransactionFailed(Told, frozen=True, kw_only=True, tag=EventType.TRANSACTION_FAILED.value):
    """It was refused, `error` says why; nothing was booked."""

    data: TransactionEventShape


class TransactionCaptured(Told, frozen=True, kw_only=True, tag=EventType.TRANSACTION_CAPTURED.value):
    """A part of what it holds was booked; the rest is still held."""

    data: TransactionEventShape


class TransactionVoided(Told, frozen=True, kw_only=True, tag=EventType.TRANSACTION_VOIDED.value):
    """What it held was released, nothing of it was booked."""

    data: TransactionEventShape


class TransactionExpired(Told, frozen=True, kw_only=True, tag=EventType.TRANSACTION_EXPIRED.value):
    """The time of its hold was over, and what it held was released; nothing of it was booked."""

    data: TransactionEventShape


class TransactionReversed(Told, frozen=True, kw_only=True, tag=EventType.TRANSACTION_REVERSED.value):
    """All of it has been taken back, by transactions of their own."""

    data: TransactionEventShape


class AccountOpened(Told, frozen=True, kw_only=True, tag=EventType.ACCOUNT_OPENED.value):
    """It can be booked on."""

    data: AccountShape


class AccountFrozen(Told, frozen=True, kw_only=True, tag=EventType.ACCOUNT_FROZEN.value):
    """Its debits, its credits or both are refused from now on; `frozen` says which."""

    data: AccountShape


class AccountUnfrozen(Told, frozen=True, kw_only=True, tag=EventType.ACCOUNT_UNFROZEN.value):
    """Its debits, its credits or both are allowed again; `frozen` says what is not."""

    data: AccountShape


class AccountClosed(Told, frozen=True, kw_only=True, tag=EventType.ACCOUNT_CLOSED.value):
    """It is empty, and nothing is booked on it any more."""

    data: AccountShape


class AccountReopened(Told, frozen=True, kw_only=True, tag=EventType.ACCOUNT_REOPENED.value):
    """It can be booked on again."""

    data: AccountShape


class AccountLimitsChanged(Told, frozen=True, kw_only=True, tag=EventType.ACCOUNT_LIMITS_CHANGED.value):
    """Its floor or its ceiling is another."""

    data: AccountShape


class BatchCompleted(Told, frozen=True, kw_only=True, tag=EventType.BATCH_COMPLETED.value):
    """Each of its items has its outcome; some may have failed. Told again when it is through with a retry."""

    data: BatchShape


class BatchFailed(Told, frozen=True, kw_only=True, tag=EventType.BATCH_FAILED.value):
    """It was to be applied as a whole and was refused: nothing of it was."""

    data: BatchShape


class DeadLetterRecorded(Told, frozen=True, kw_only=True, tag=EventType.DEAD_LETTER_RECORDED.value):
    """A message or an event could not be handled and is kept for somebody to look at."""

    data: DeadLetterShape


class DeadLetterReplayed(Told, frozen=True, kw_only=True, tag=EventType.DEAD_LETTER_REPLAYED.value):
    """It has been handled after all."""

    data: DeadLetterShape


class DeadLetterDiscarded(Told, frozen=True, kw_only=True, tag=EventType.DEAD_LETTER_DISCARDED.value):
    """Somebody has decided that it need not be handled."""

    data: DeadLetterShape


CATALOGUE: dict[EventType, type[Told]] = {
    EventType(str(told.__struct_config__.tag)): told for told in Told.__subclasses__()
}
_VERSIONS: dict[str, int] = {event_type.value: told.version for event_type, told in CATALOGUE.items()}


def schema_of(event_type: str) -> str:
    """Return the name of the JSON Schema of a type's messages, as docs/reference/events.md gives it.

    A type that only a later release knows, which has recorded it meanwhile, begins with version 1.
    """
    return SCHEMA.format(type=event_type, version=_VERSIONS.get(event_type, 1))
