"""Write a round set-wise: a few statements whatever its size. Call inside a database transaction, after the locks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from config.runtime.arrays import blobs, numbers, texts, uuids
from config.runtime.database import pipeline, raw_cursor
from config.runtime.sql import sql_file
from ledger.domain.shapes import TransactionShape
from ledger.domain.states import Status
from ledger.events.outbox import record_events
from ledger.posting.judge import Judged
from ledger.posting.shape import happened

TRANSACTIONS = sql_file("ledger/posting", "write_transactions")
JOURNALS = sql_file("ledger/posting", "write_journals")
HISTORY = sql_file("ledger/posting", "write_history")
FINISH = sql_file("ledger/posting", "finish_transactions")
ACCEPT = sql_file("ledger/posting", "accept")
LEAVE_QUEUE = sql_file("ledger/posting", "leave_queue")

Both = Sequence[tuple[Judged, TransactionShape]]


def write_round(judged: Sequence[Judged], shapes: Sequence[TransactionShape], *, posted_at: datetime) -> None:
    """Write transactions, journals with their lines, history and outbox rows, in one round trip."""
    both = list(zip(judged, shapes, strict=True))
    new = [(one, shape) for one, shape in both if one.intent.accepted is None]
    accepted = [one for one in judged if one.intent.accepted is not None]
    completed = [(one, shape) for one, shape in both if one.journal_id is not None]
    with raw_cursor() as cursor, pipeline():
        if new:
            cursor.execute(TRANSACTIONS, _transaction_columns(new) | {"posted_at": posted_at})
        if accepted:
            cursor.execute(FINISH, _outcome_columns(accepted) | {"posted_at": posted_at})
            cursor.execute(LEAVE_QUEUE, {"id": uuids([one.intent.id for one in accepted])})
        if completed:
            cursor.execute(JOURNALS, _journal_columns(completed) | {"posted_at": posted_at})
        cursor.execute(HISTORY, _history_columns(judged) | {"posted_at": posted_at})
        record_events(cursor, [happened(one, shape) for one, shape in both])


def write_accepted(judged: Sequence[Judged], shapes: Sequence[TransactionShape], *, accepted_at: datetime) -> None:
    """Write intents as `processing`, their history and their place in the queue, in one statement."""
    columns = _transaction_columns(list(zip(judged, shapes, strict=True)))
    intents = [one.intent for one in judged]
    asked = {
        "actor": texts([intent.actor for intent in intents]),
        "request_id": texts([intent.request_id for intent in intents]),
        "trace": texts([intent.trace for intent in intents]),
    }
    with raw_cursor() as cursor:
        cursor.execute(ACCEPT, columns | asked | {"accepted_at": accepted_at})


def _transaction_columns(new: Both) -> dict[str, Any]:
    judged, shapes = [one for one, _ in new], [shape for _, shape in new]
    intents = [one.intent for one in judged]
    return {
        "id": uuids([intent.id for intent in intents]),
        "client_id": numbers([intent.client_id for intent in intents]),
        "idempotency_key": texts([intent.idempotency_key for intent in intents]),
        "request_hash": blobs([intent.request_hash for intent in intents]),
        "receipt_code": texts([shape.receipt_code for shape in shapes]),
        "type": texts([intent.type for intent in intents]),
        "status": texts([one.status.value for one in judged]),
        "amount_minor": numbers([intent.amount_minor for intent in intents]),
        "currency_id": texts([intent.debit.currency for intent in intents]),
        "debit_account_id": numbers([intent.debit.id for intent in intents]),
        "credit_account_id": numbers([intent.credit.id for intent in intents]),
        "user_id": texts([intent.user_id for intent in intents]),
        "peer_user_id": texts([intent.peer_user_id for intent in intents]),
        "reference": texts([intent.reference for intent in intents]),
        "description": texts([intent.description for intent in intents]),
        "metadata": texts([msgspec.json.encode(intent.metadata).decode() for intent in intents]),
        "error_code": texts([one.error_code for one in judged]),
        "effective_at": texts([shape.effective_at for shape in shapes]),
        "execute_at": texts([shape.execute_at for shape in shapes]),
        "batch_id": texts([None if intent.batch_id is None else intent.batch_id.hex for intent in intents]),
        "batch_index": numbers([intent.batch_index for intent in intents]),
        "created_at": texts([shape.created_at for shape in shapes]),
    }


def _outcome_columns(accepted: Sequence[Judged]) -> dict[str, Any]:
    return {
        "id": uuids([one.intent.id for one in accepted]),
        "status": texts([one.status.value for one in accepted]),
        "error_code": texts([one.error_code for one in accepted]),
        "attempts": numbers([one.attempts for one in accepted]),
    }


def _journal_columns(completed: Both) -> dict[str, Any]:
    journal_ids = [one.journal_id for one, _ in completed if one.journal_id is not None]
    lines = [
        (journal_id, number, line)
        for journal_id, (one, _) in zip(journal_ids, completed, strict=True)
        for number, line in enumerate(one.lines, 1)
    ]
    return {
        "id": uuids(journal_ids),
        "client_id": numbers([one.intent.client_id for one, _ in completed]),
        "transaction_id": uuids([one.intent.id for one, _ in completed]),
        "external_ref": texts([shape.receipt_code for _, shape in completed]),
        "effective_at": texts([shape.effective_at for _, shape in completed]),
        "journal_id": uuids([journal_id for journal_id, _, _ in lines]),
        "line": numbers([number for _, number, _ in lines]),
        "account_id": numbers([line.account.id for _, _, line in lines]),
        "line_currency": texts([line.account.currency for _, _, line in lines]),
        "line_amount": numbers([line.amount_minor for _, _, line in lines]),
        "account_version": numbers([line.account_version for _, _, line in lines]),
        "posted_after": numbers([line.posted_after for _, _, line in lines]),
        "pending_after": numbers([line.pending_after for _, _, line in lines]),
    }


def _history_columns(judged: Sequence[Judged]) -> dict[str, Any]:
    return {
        "transaction_id": uuids([one.intent.id for one in judged]),
        "from_status": texts([one.intent.accepted and Status.PROCESSING.value for one in judged]),
        "to_status": texts([one.status.value for one in judged]),
        "amount_minor": numbers([one.intent.amount_minor for one in judged]),
        "actor": texts([one.intent.actor for one in judged]),
        "reason": texts([one.error_code or "" for one in judged]),
        "request_id": texts([one.intent.request_id for one in judged]),
    }
