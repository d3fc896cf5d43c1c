"""The types of what can happen. A type, once told, keeps its name: whoever listens has it in code."""

from __future__ import annotations

from enum import StrEnum

from ledger.domain.states import Status


class EventType(StrEnum):
    """What an outbox row tells of."""

    ACCOUNT_OPENED = "account.opened"
    ACCOUNT_FROZEN = "account.frozen"
    ACCOUNT_UNFROZEN = "account.unfrozen"
    ACCOUNT_CLOSED = "account.closed"
    ACCOUNT_REOPENED = "account.reopened"
    ACCOUNT_LIMITS_CHANGED = "account.limits_changed"
    TRANSACTION_PENDING = "transaction.pending"
    TRANSACTION_COMPLETED = "transaction.completed"
    TRANSACTION_FAILED = "transaction.failed"
    TRANSACTION_CAPTURED = "transaction.captured"
    TRANSACTION_VOIDED = "transaction.voided"
    TRANSACTION_EXPIRED = "transaction.expired"
    TRANSACTION_REVERSED = "transaction.reversed"
    BATCH_COMPLETED = "batch.completed"
    BATCH_FAILED = "batch.failed"
    DEAD_LETTER_RECORDED = "dead_letter.recorded"
    DEAD_LETTER_REPLAYED = "dead_letter.replayed"
    DEAD_LETTER_DISCARDED = "dead_letter.discarded"


# Which event tells that a transaction has come to a status.
OUTCOMES: dict[Status, EventType] = {
    status: EventType(f"transaction.{status}") for status in Status if status is not Status.PROCESSING
}
