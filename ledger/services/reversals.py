"""Take back what was booked, by a transaction of its own; nothing that stands is changed but its sum and status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from config.runtime.errors import DomainError
from config.runtime.ids import uuid7
from ledger.domain.legs import Leg, terms_of
from ledger.errors import NotDivisible, NotReversible, ReversalExceeds
from ledger.kinds.reversal import KIND as REVERSAL
from ledger.models import Transaction
from ledger.posting.engine import post
from ledger.posting.intents import Intent, Outcome
from ledger.queries.transactions import get_transaction
from ledger.services.idempotency import Claim, find_earlier
from ledger.services.stored import audit_move, portion, refuse_unbooked, stored_intent
from ledger.services.transactions import Submitted, log_start, settled_or_raised

OPERATION = "transactions.reverse"
REVERSED = "transaction.reversed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """What a door was asked to take back: all that is not yet, or the part that `amount` says, and why."""

    amount: str | None = None
    reason: str = ""
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    request_hash: bytes | None = None


def reverse_transaction(
    *,
    client_id: int,
    transaction_id: UUID,
    reversal: Reversal,
    is_audited: bool = False,
    actor: str,
    request_id: str,
) -> Submitted:
    """Book the money back, in full or in part. What the books refuse is stored as failed, as any transaction.

    The reason stands in the history of both, and what `is_audited` in the audit trail of what is taken back as well.

    Raises:
        NotFound: the client has no such transaction.
        Invalid: it is no amount of its currency.
        IdempotencyKeyReused: the key belongs to another request.
        DomainError: of kind CONFLICT, when so much cannot be taken back (any more). Nothing was stored.
    """
    row = get_transaction(client_id, transaction_id)
    try:
        refuse_unbooked(row, NotReversible)
        intent = reversal_intent(row, reversal, actor=actor, request_id=request_id)
    except DomainError:
        _refuse_taken_key(client_id, reversal)
        raise
    log_start([intent])

    def keep(outcomes: Sequence[Outcome]) -> None:
        made = outcomes[0].transaction
        if made is not None:
            audit_move(intent, REVERSED, made)

    try:
        return settled_or_raised(post([intent], alongside=keep if is_audited else None)[0])
    except ReversalExceeds:
        is_moved = get_transaction(client_id, transaction_id).reversed_minor != row.reversed_minor
        if reversal.amount is not None or not is_moved:
            raise
    # A part was taken back meanwhile: what is left now is meant.
    return reverse_transaction(
        client_id=client_id,
        transaction_id=transaction_id,
        reversal=reversal,
        is_audited=is_audited,
        actor=actor,
        request_id=request_id,
    )


def _refuse_taken_key(client_id: int, reversal: Reversal) -> None:
    """Refuse a key that is taken, by something else: what has been taken back before is never refused unposted."""
    if reversal.idempotency_key is not None:
        claim = Claim(reversal.idempotency_key, OPERATION, reversal.request_hash or b"")
        find_earlier(client_id=client_id, claim=claim)


def reversal_intent(row: Transaction, reversal: Reversal, *, actor: str, request_id: str) -> Intent:
    """Return what takes a transaction back, to be posted: what has terms, as a whole.

    Raises:
        Invalid: it is no amount of its currency.
        ReversalExceeds: there never was so much.
        NotDivisible: it has terms, and this is not the whole.
    """
    original = stored_intent(row, reason=reversal.reason, actor=actor, request_id=request_id)
    left_minor = row.booked_minor - row.reversed_minor
    amount_minor = portion(reversal.amount, row.currency.exponent) or left_minor or row.amount_minor
    if amount_minor > row.amount_minor:
        raise ReversalExceeds
    if amount_minor != row.amount_minor and not original.is_divisible:
        raise NotDivisible
    legs = _led_back(original, amount_minor)
    return Intent(
        id=uuid7(),
        client_id=row.client_id,
        type=REVERSAL.name,
        amount_minor=amount_minor,
        legs=legs,
        terms=None if original.is_divisible else terms_of(legs, by_legs=True),
        idempotency_key=reversal.idempotency_key,
        request_hash=reversal.request_hash,
        reference=reversal.reference,
        description=reversal.description,
        metadata=reversal.metadata,
        original=original,
        reason=reversal.reason,
        actor=actor,
        request_id=request_id,
        trace=original.trace,
    )


def _led_back(original: Intent, amount_minor: int) -> tuple[Leg, ...]:
    """Return the legs turned round; of two that belong together the one that is debited now comes first, as always."""
    back = [Leg(account, -minor) for account, minor in original.portion(amount_minor)]
    if original.terms is not None and original.terms.by_legs:
        return tuple(back)
    return tuple([leg for debited, credited in zip(back[1::2], back[::2], strict=True) for leg in (debited, credited)])
