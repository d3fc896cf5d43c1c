"""Render what a round wrote: the answer, and the event with its lines."""

from __future__ import annotations

import msgspec

from config.runtime.clock import rfc3339
from ledger.domain.accounts import AccountKind
from ledger.domain.balances import Side
from ledger.domain.legs import shown_terms
from ledger.domain.money import format_amount
from ledger.domain.receipts import receipt_code
from ledger.domain.shapes import AUTOMATIC, MANUAL, FailureShape, LineShape, TransactionShape, account_name
from ledger.domain.states import Status
from ledger.errors import failure_shape
from ledger.events.outbox import Happened
from ledger.events.types import OUTCOMES, EventType
from ledger.posting.judge import Judged, Line
from ledger.posting.standing import Standing

_DEBIT_NORMAL = frozenset(kind.value for kind in AccountKind if kind.is_debit_normal)


def transaction_shape(judged: Judged, *, posted_at: str) -> TransactionShape:
    """Return the transaction as its API shows it at this commit; `posted_at` is RFC 3339, one for the round."""
    intent, standing = judged.intent, judged.standing
    exponent, debit, credit = intent.exponent, intent.debit, intent.credit
    created = rfc3339(intent.created_at)
    if standing is None:
        version = 1 if intent.accepted is None else intent.accepted.version + 1
        completed_at = posted_at if judged.status is Status.COMPLETED else None
    else:
        version = standing.version
        completed_at = None if standing.completed_at is None else rfc3339(standing.completed_at)
    return TransactionShape(
        id=intent.id,
        receipt_code=receipt_code(intent.id),
        type=intent.type,
        status=judged.status.value,
        amount=format_amount(intent.amount_minor, exponent=exponent),
        currency=intent.currency,
        debit_account=None if debit is None else account_name(debit),
        credit_account=None if credit is None else account_name(credit),
        **shown_terms(intent.terms, intent.legs),
        user_id=intent.user_id,
        peer_user_id=intent.peer_user_id,
        reference=intent.reference,
        description=intent.description,
        error=_failure(judged),
        metadata=intent.metadata,
        effective_at=rfc3339(intent.effective_at) if intent.effective_at else created,
        execute_at=rfc3339(intent.execute_at) if intent.execute_at else None,
        capture=MANUAL if intent.expires_at else AUTOMATIC,
        expires_at=rfc3339(intent.expires_at) if intent.expires_at else None,
        captured=_captured(standing, exponent) if intent.expires_at else None,
        reversed=format_amount(0 if standing is None else standing.reversed_minor, exponent=exponent),
        reverses=None if intent.original is None else intent.original.id,
        batch_id=intent.batch_id,
        version=version,
        created_at=created,
        completed_at=completed_at,
    )


def _failure(judged: Judged) -> FailureShape | None:
    if judged.error_code is None:
        return None
    return failure_shape(judged.error_code, judged.attempts, judged.error_pointer)


def _captured(standing: Standing | None, exponent: int) -> str:
    return format_amount(0 if standing is None else standing.booked_minor, exponent=exponent)


def happened(judged: Judged, shape: TransactionShape) -> Happened:
    """Return the outbox row of an outcome: the shape plus `entries`."""
    entries = msgspec.json.encode([_line_shape(line) for line in judged.lines]).decode()
    data = msgspec.json.encode(shape).decode()
    intent = judged.intent
    return Happened(
        intent.client_id,
        EventType.TRANSACTION_CAPTURED if judged.is_captured_in_part else OUTCOMES[judged.status],
        intent.owner.public_id,
        f'{data[:-1]},"entries":{entries}}}',
        intent.trace,
    )


def _line_shape(line: Line) -> LineShape:
    account = line.account
    after = line.posted_after if account.kind in _DEBIT_NORMAL else -line.posted_after
    return LineShape(
        account=account_name(account),
        side=(Side.DEBIT if line.amount_minor > 0 else Side.CREDIT).value,
        amount=format_amount(abs(line.amount_minor), exponent=account.exponent),
        layer=line.layer.value,
        account_version=line.account_version,
        balance_after=format_amount(after, exponent=account.exponent),
    )
