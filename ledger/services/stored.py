"""What is asked of a transaction that stands: the intent that it was, and what is to be done to it."""

from __future__ import annotations

from typing import Any

from config.runtime.errors import DomainError
from config.runtime.tracing import outgoing_headers
from ledger.clients.services import record_audit
from ledger.domain.shapes import TransactionShape
from ledger.domain.states import Status
from ledger.errors import StillProcessing
from ledger.models import Transaction
from ledger.posting.intents import Intent
from ledger.queries.accounts import accounts_by_id
from ledger.services.fields import positive_at


def stored_intent(row: Transaction, *, actor: str, request_id: str, **asked: Any) -> Intent:
    """Return the intent that a transaction was, for who asks something of it now; `asked` says what."""
    legs = row.legs
    return Intent(
        id=row.pk,
        client_id=row.client_id,
        type=row.type,
        amount_minor=row.amount_minor,
        legs=legs.found(accounts_by_id(legs.account_ids)),
        terms=legs.terms,
        reference=row.reference,
        description=row.description,
        metadata=row.metadata,
        effective_at=row.effective_at,
        execute_at=row.execute_at,
        expires_at=row.expires_at,
        batch_id=row.batch_id,
        batch_index=row.batch_index,
        actor=actor,
        request_id=request_id,
        trace=outgoing_headers().get("traceparent", ""),
        **asked,
    )


def portion(text: str | None, exponent: int) -> int | None:
    """Return the part of a transaction's amount that is meant, in minor units; None for all that is left.

    Raises:
        Invalid: it is no amount of that currency.
    """
    return None if text is None else positive_at("/amount", text, exponent)


def refuse_unbooked(row: Transaction, otherwise: type[DomainError]) -> None:
    """Refuse what the poster may be at: it locks balances before rows, and who moves what stands the other way round.

    Raises:
        StillProcessing: it waits to be booked.
        otherwise: it has failed, and may be sent on its way again.
    """
    if row.status == Status.PROCESSING:
        raise StillProcessing
    if row.status == Status.FAILED:
        raise otherwise(f"It is {row.status}.")


def audit_move(intent: Intent, action: str, made: TransactionShape) -> None:
    """Keep that staff moved a transaction that stands, and why. Call inside the database transaction of the move.

    `made` is the transaction as the move left it, or the one that takes it back.
    """
    record_audit(
        client_id=intent.client_id,
        actor=intent.actor,
        action=action,
        subject=Transaction(pk=intent.target_id),
        reason=intent.reason,
        request_id=intent.request_id,
        detail={
            "receipt_code": made.receipt_code,
            "status": made.status,
            "amount": made.amount,
            "captured": made.captured,
            "error": None if made.error is None else made.error.code,
        },
    )
