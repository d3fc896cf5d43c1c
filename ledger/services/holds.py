"""Capture, void and expire what is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from config.runtime import stopping
from ledger.domain.shapes import TransactionShape
from ledger.errors import NotHeld
from ledger.models import Transaction
from ledger.posting.engine import post
from ledger.posting.intents import Action, Intent, Outcome
from ledger.queries.accounts import remember_accounts
from ledger.queries.transactions import get_transaction, shown_transaction
from ledger.services.idempotency import Claim, find_earlier, keep_key
from ledger.services.stored import audit_move, portion, refuse_unbooked, stored_intent

CAPTURE, VOID = "transactions.capture", "transactions.void"
CAPTURED, VOIDED = "transaction.captured", "transaction.voided"
EXPIRED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Moved:
    """A transaction as it stands after the request; `replayed` when an earlier one with the same key did it."""

    transaction: TransactionShape
    replayed: bool


class _Earlier(Exception):
    """An equal request was first."""


def capture_transaction(
    *,
    client_id: int,
    transaction_id: UUID,
    amount: str | None,
    is_final: bool,
    reason: str = "",
    claim: Claim | None = None,
    is_audited: bool = False,
    actor: str,
    request_id: str,
    now: datetime | None = None,
) -> Moved:
    """Book what is held, or the part of it that `amount` says; with `is_final` the rest is let go.

    `reason` stands in the history, and what `is_audited` in the audit trail as well. `now` decides whether it
    is held still; without one it is the database clock's, read behind the locks.

    Raises:
        NotFound: the client has no such transaction.
        Invalid: it is no amount of its currency.
        DomainError: of kind CONFLICT, when so much is not held (any more). Nothing moved.
    """
    row = get_transaction(client_id, transaction_id)
    intent = stored_intent(
        row,
        action=Action.CAPTURE,
        portion_minor=portion(amount, row.currency.exponent),
        is_final=is_final,
        reason=reason,
        actor=actor,
        request_id=request_id,
    )
    return _do(row, intent, claim, CAPTURED if is_audited else None, now)


def void_transaction(
    *,
    client_id: int,
    transaction_id: UUID,
    reason: str = "",
    claim: Claim | None = None,
    is_audited: bool = False,
    actor: str,
    request_id: str,
    now: datetime | None = None,
) -> Moved:
    """Let go what is still held; `reason` stands in the history, and what `is_audited` in the audit trail as well.

    `now` is as for a capture.

    Raises:
        NotFound: the client has no such transaction.
        DomainError: of kind CONFLICT, when nothing is held (any more). Nothing moved.
    """
    row = get_transaction(client_id, transaction_id)
    intent = stored_intent(row, action=Action.VOID, reason=reason, actor=actor, request_id=request_id)
    return _do(row, intent, claim, VOIDED if is_audited else None, now)


def expire_holds(now: datetime | None = None) -> int:
    """End the holds whose time is over, in rounds; return how many. A hold is over at its time, also before.

    `now` decides which these are; without one it is the database clock's.
    """
    ended = 0
    while not stopping.stopping():
        due = _free_and_due(now)
        remember_accounts(account_id for row in due for account_id in row.legs.account_ids)
        intents = [stored_intent(row, action=Action.EXPIRE, actor="schedule", request_id="") for row in due]
        outcomes = post(intents, now=now) if intents else []
        count = sum(outcome.transaction is not None for outcome in outcomes)
        ended += count
        if not count or len(due) < EXPIRED_AT_ONCE:
            break
    return ended


def _free_and_due(now: datetime | None) -> list[Transaction]:
    """Return those whose time is over, the oldest first, without those that somebody is at: they come next time."""
    with transaction.atomic(durable=True):
        rows = Transaction.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))
        due = rows.filter(openhold__expires_at__lte=now or Now()).order_by("openhold__expires_at", "pk")
        return list(due[:EXPIRED_AT_ONCE])


def _do(row: Transaction, intent: Intent, claim: Claim | None, audited: str | None, now: datetime | None) -> Moved:
    """Do it in one commit with the key of the request, if it has one, and with its entry in the audit trail."""
    client_id = row.client_id

    def look() -> None:
        if claim is not None and find_earlier(client_id=client_id, claim=claim) is not None:
            raise _Earlier

    def keep(outcomes: Sequence[Outcome]) -> None:
        made = _made(outcomes)
        if claim is not None:
            keep_key(client_id=client_id, claim=claim, object_id=str(row.pk))
        if audited is not None:
            audit_move(intent, audited, made)

    try:
        look()
        if row.expires_at is not None:
            refuse_unbooked(row, NotHeld)
        alone = None if claim is None else (client_id, claim.key)
        return Moved(_made(post([intent], alone=alone, before=look, alongside=keep, now=now)), replayed=False)
    except _Earlier:
        return Moved(shown_transaction(client_id, row.pk), replayed=True)


def _made(outcomes: Sequence[Outcome]) -> TransactionShape:
    """Return what became of the one transaction, or raise the refusal."""
    if outcomes[0].refusal is not None:
        raise outcomes[0].refusal
    assert outcomes[0].transaction is not None
    return outcomes[0].transaction
