"""Write a round set-wise: a few statements whatever its size. Call inside a database transaction, after the locks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from config.runtime.arrays import blobs, numbers, texts, uuids
from config.runtime.clock import rfc3339
from config.runtime.database import pipeline, raw_cursor
from config.runtime.sql import sql_file
from ledger.domain.accounts import AccountRef
from ledger.domain.legs import Terms
from ledger.domain.shapes import TransactionShape
from ledger.domain.states import Status
from ledger.errors import failure_reason
from ledger.events.outbox import record_events
from ledger.locks import Cursor
from ledger.posting.judge import Judged
from ledger.posting.shape import happened, transaction_shape
from ledger.posting.standing import Standing

TRANSACTIONS = sql_file("ledger/posting", "write_transactions")
JOURNALS = sql_file("ledger/posting", "write_journals")
HISTORY = sql_file("ledger/posting", "write_history")
FINISH = sql_file("ledger/posting", "finish_transactions")
ACCEPT = sql_file("ledger/posting", "accept")
LEAVE_QUEUE = sql_file("ledger/posting", "leave_queue")
MOVE = sql_file("ledger/posting", "move_transactions")
OPEN_HOLDS = """
INSERT INTO ledger_openhold (transaction_id, expires_at)
SELECT * FROM unnest(%(id)s::uuid[], %(expires_at)s::timestamptz[])
"""
END_HOLDS = "DELETE FROM ledger_openhold WHERE transaction_id = ANY(%(id)s::uuid[])"

Both = Sequence[tuple[Judged, TransactionShape]]


def write_round(judged: Sequence[Judged], *, posted_at: datetime) -> list[TransactionShape]:
    """Write transactions, journals with their lines, history and outbox rows, in one round trip.

    Return the transactions as their API shows them at this commit. They are rendered while the database is at what can
    be written without them.
    """
    moment = rfc3339(posted_at)
    with raw_cursor() as cursor, pipeline():
        _write_moves(cursor, judged, posted_at)
        shapes = [transaction_shape(one, posted_at=moment) for one in judged]
        both = list(zip(judged, shapes, strict=True))
        new = [(one, shape) for one, shape in both if one.standing is None and one.intent.accepted is None]
        booked = [(one, shape) for one, shape in both if one.journal_id is not None]
        if new:
            cursor.execute(TRANSACTIONS, _transaction_columns(new) | {"posted_at": posted_at})
        if booked:
            cursor.execute(JOURNALS, _journal_columns(booked, moment) | {"posted_at": posted_at})
        record_events(cursor, [happened(one, shape) for one, shape in both if one.is_told])
    return shapes


def _write_moves(cursor: Cursor, judged: Sequence[Judged], posted_at: datetime) -> None:
    """Write what moves of transactions that stand or were accepted, which holds begin and end, and the history."""
    accepted = [one for one in judged if one.standing is None and one.intent.accepted is not None]
    if accepted:
        cursor.execute(FINISH, _outcome_columns(accepted) | {"posted_at": posted_at})
        cursor.execute(LEAVE_QUEUE, {"id": uuids([one.intent.id for one in accepted])})
    _move(cursor, [one for one in judged if one.standing is not None])
    _note_holds(cursor, judged)
    cursor.execute(HISTORY, _history_columns([one for one in judged if one.is_told]) | {"posted_at": posted_at})


def _move(cursor: Cursor, moved: Sequence[Judged]) -> None:
    """Write where transactions stand that stood already; one that a round moves twice is written twice, in order."""
    while moved:
        now: dict[UUID, Standing] = {}
        later: list[Judged] = []
        for one in moved:
            if one.intent.id in now or one.standing is None:
                later.append(one)
            else:
                now[one.intent.id] = one.standing
        cursor.execute(MOVE, _standing_columns(now))
        moved = later


def _note_holds(cursor: Cursor, judged: Sequence[Judged]) -> None:
    """Keep the table of open holds: those that begin, and those that end."""
    begun = [one.intent for one in judged if one.status is Status.PENDING and one.from_status is not Status.PENDING]
    ended = [one.intent.id for one in judged if one.from_status is Status.PENDING and one.status is not Status.PENDING]
    if begun:
        ends = texts([rfc3339(intent.expires_at) if intent.expires_at else None for intent in begun])
        cursor.execute(OPEN_HOLDS, {"id": uuids([intent.id for intent in begun]), "expires_at": ends})
    if ended:
        cursor.execute(END_HOLDS, {"id": uuids(ended)})


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
        "currency_id": texts([intent.currency for intent in intents]),
        "debit_account_id": numbers([_id(intent.debit) for intent in intents]),
        "credit_account_id": numbers([_id(intent.credit) for intent in intents]),
        "terms": texts([_stored(intent.terms) for intent in intents]),
        "user_id": texts([intent.user_id for intent in intents]),
        "peer_user_id": texts([intent.peer_user_id for intent in intents]),
        "reference": texts([intent.reference for intent in intents]),
        "description": texts([intent.description for intent in intents]),
        "metadata": texts([msgspec.json.encode(intent.metadata).decode() for intent in intents]),
        "error_code": texts([one.error_code for one in judged]),
        "effective_at": texts([shape.effective_at for shape in shapes]),
        "execute_at": texts([shape.execute_at for shape in shapes]),
        "expires_at": texts([shape.expires_at for shape in shapes]),
        "reverses_id": texts([None if shape.reverses is None else shape.reverses.hex for shape in shapes]),
        "batch_id": texts([None if intent.batch_id is None else intent.batch_id.hex for intent in intents]),
        "batch_index": numbers([intent.batch_index for intent in intents]),
        "created_at": texts([shape.created_at for shape in shapes]),
    }


def _id(account: AccountRef | None) -> int | None:
    return None if account is None else account.id


def _stored(terms: Terms | None) -> str | None:
    return None if terms is None else msgspec.json.encode(terms).decode()


def _outcome_columns(accepted: Sequence[Judged]) -> dict[str, Any]:
    return {
        "id": uuids([one.intent.id for one in accepted]),
        "status": texts([one.status.value for one in accepted]),
        "error_code": texts([one.error_code for one in accepted]),
        "attempts": numbers([one.attempts for one in accepted]),
    }


def _standing_columns(standings: Mapping[UUID, Standing]) -> dict[str, Any]:
    found = standings.values()
    return {
        "id": uuids(standings),
        "status": texts([one.status.value for one in found]),
        "version": numbers([one.version for one in found]),
        "booked_minor": numbers([one.booked_minor for one in found]),
        "reversed_minor": numbers([one.reversed_minor for one in found]),
        "completed_at": texts([None if one.completed_at is None else rfc3339(one.completed_at) for one in found]),
    }


def _journal_columns(booked: Both, posted_at: str) -> dict[str, Any]:
    journal_ids = [one.journal_id for one, _ in booked if one.journal_id is not None]
    lines = [
        (journal_id, number, line)
        for journal_id, (one, _) in zip(journal_ids, booked, strict=True)
        for number, line in enumerate(one.lines, 1)
    ]
    return {
        "id": uuids(journal_ids),
        "client_id": numbers([one.intent.client_id for one, _ in booked]),
        "transaction_id": uuids([one.intent.id for one, _ in booked]),
        "external_ref": texts([shape.receipt_code for _, shape in booked]),
        "kind": texts([one.kind.value for one, _ in booked]),
        "entry_count": numbers([len(one.lines) for one, _ in booked]),
        # What ends a hold is effective when it is done, but not before what it ends.
        "effective_at": texts(
            [
                shape.effective_at if one.standing is None else max(shape.effective_at, posted_at)
                for one, shape in booked
            ]
        ),
        "journal_id": uuids([journal_id for journal_id, _, _ in lines]),
        "line": numbers([number for _, number, _ in lines]),
        "account_id": numbers([line.account.id for _, _, line in lines]),
        "line_currency": texts([line.account.currency for _, _, line in lines]),
        "layer": texts([line.layer.value for _, _, line in lines]),
        "line_amount": numbers([line.amount_minor for _, _, line in lines]),
        "account_version": numbers([line.account_version for _, _, line in lines]),
        "posted_after": numbers([line.posted_after for _, _, line in lines]),
        "pending_after": numbers([line.pending_after for _, _, line in lines]),
        "pending_debits_after": numbers([line.pending_debits_after for _, _, line in lines]),
    }


def _history_columns(judged: Sequence[Judged]) -> dict[str, Any]:
    return {
        "transaction_id": uuids([one.intent.id for one in judged]),
        "from_status": texts([None if one.from_status is None else one.from_status.value for one in judged]),
        "to_status": texts([one.status.value for one in judged]),
        "amount_minor": numbers([one.moved_minor for one in judged]),
        "actor": texts([one.intent.actor for one in judged]),
        "reason": texts(
            [
                failure_reason(one.error_code, one.error_pointer) if one.error_code else one.intent.reason
                for one in judged
            ]
        ),
        "request_id": texts([one.intent.request_id for one in judged]),
    }
