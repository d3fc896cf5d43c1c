"""From the words of the reference to those of the services, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ledger.domain.batches import ItemResult
from ledger.domain.shapes import AUTOMATIC, MANUAL, AccountShape, TransactionShape
from ledger.services.idempotency import Claim
from ledger.services.submissions import LegAsked, Submission
from tests.ledger.model.asks import Answer, Ask, amount_text

HOUR = timedelta(hours=1)

Accounts = Mapping[str, AccountShape]


def submission(ask: Ask, accounts: Accounts, *, now: datetime) -> Submission:
    """Return what a door is asked; its reference is the label."""
    currency = _currency(accounts, ask.debit)
    times: dict[str, Any] = {
        "execute_at": now + ask.hours * HOUR if ask.hours else None,
        "effective_at": None if ask.back is None else now - ask.back * HOUR,
        "capture": MANUAL if ask.is_held else AUTOMATIC,
        "expires_at": None if ask.lasts is None else now + ask.lasts * HOUR,
    }
    named: dict[str, Any] = {"legs": tuple(_leg(path, amount, accounts) for path, amount in ask.legs)}
    if not ask.legs:
        named = {
            "debit_account": ask.debit,
            "credit_account": ask.credit,
            "amount": amount_text(ask.amount, currency),
            "currency": currency,
            "fee": None if ask.fee is None else amount_text(ask.fee, currency),
        }
    return Submission(
        type=ask.kind,
        reference=ask.label,
        group=ask.group,
        idempotency_key=ask.key,
        request_hash=repr(ask.body).encode(),
        **named,
        **_rate(ask, accounts),
        **times,
    )


def claim(key: str | None, operation: str, *asked: Any) -> Claim | None:
    return None if key is None else Claim(key, operation, repr(asked).encode())


def of_transaction(shape: TransactionShape, *, label: str | None = None, replayed: bool = False) -> Answer:
    error, named = shape.error, shape.reference or label
    if error is None:
        return Answer(shape.status, named, replayed)
    return Answer(error.code, named, replayed, error.retryable)


def of_item(result: ItemResult, batch: str) -> Answer:
    """Return where an item stands; what a batch takes back has no reference."""
    if result.transaction is not None:
        return of_transaction(result.transaction, label=f"{batch}#{result.index}", replayed=result.replayed)
    if result.refusal is not None:
        return Answer(result.refusal.code, retryable=result.refusal.retryable)
    return Answer("waiting")


def _leg(path: str, amount: int, accounts: Accounts) -> LegAsked:
    currency = _currency(accounts, path)
    return LegAsked(
        account=path,
        side="debit" if amount > 0 else "credit",
        amount=amount_text(abs(amount), currency),
        currency=currency,
    )


def _rate(ask: Ask, accounts: Accounts) -> dict[str, Any]:
    if ask.rate is None:
        return {}
    currency = _currency(accounts, ask.credit)
    credited = None if ask.credit_amount is None else amount_text(ask.credit_amount, currency)
    return {"credit_amount": credited, "credit_currency": currency, "rate": ask.rate, "rate_source": "ecb"}


def _currency(accounts: Accounts, path: str) -> str:
    return accounts[path].currency if path in accounts else "USD"
