"""Exchanges: one amount against another in a second currency, by way of the client's liquidity accounts."""

from __future__ import annotations

import re
from fractions import Fraction

from ledger.domain.accounts import AccountRef
from ledger.domain.legs import Exchange, Leg
from ledger.domain.money import AMOUNT_MINOR_MAX, format_amount
from ledger.errors import (
    AmountTooLarge,
    ExchangeDisagrees,
    ExchangeIncomplete,
    ExchangeTooSmall,
    ExchangeWithin,
    RateMalformed,
)
from ledger.services.fields import Accounts, account_at, check_currency, exponent_at, positive_at
from ledger.services.submissions import Submission

_RATE = re.compile(r"(0|[1-9][0-9]{0,19})(?:\.([0-9]{1,20}))?", re.ASCII)
_REQUIRED = ("credit_currency", "rate", "rate_source")


def liquidity_names(asked: Submission) -> set[str]:
    """Return the accounts that an exchange goes through."""
    return {f"liquidity:{asked.currency}", f"liquidity:{asked.credit_currency}"}


def exchanged(
    asked: Submission, accounts: Accounts, debit: AccountRef, credit: AccountRef, amount_minor: int
) -> tuple[tuple[Leg, ...], Exchange]:
    """Return the legs of an exchange and what was agreed: first debit and credit, then what is bought and sold for it.

    Raises:
        Invalid: a field, or an account that is missing or of another currency.
    """
    for name in _REQUIRED:
        if not getattr(asked, name):
            raise ExchangeIncomplete.at(f"/{name}")
    assert asked.credit_currency is not None
    assert asked.rate is not None
    assert asked.rate_source is not None
    if asked.credit_currency == asked.currency:
        raise ExchangeWithin.at("/credit_currency")
    exponent = exponent_at("/credit_currency", asked.credit_currency)
    check_currency("/credit_currency", credit, asked.credit_currency)
    exact = Fraction(amount_minor * 10**exponent, 10**debit.exponent) * _rate(asked.rate)
    credit_minor = _credit_minor(asked.credit_amount, exact, exponent)
    why = "that exchanges go through"
    bought = account_at("/currency", f"liquidity:{asked.currency}", accounts, why=why)
    sold = account_at("/credit_currency", f"liquidity:{asked.credit_currency}", accounts, why=why)
    legs = (Leg(debit, amount_minor), Leg(credit, -credit_minor), Leg(bought, -amount_minor), Leg(sold, credit_minor))
    return legs, Exchange(
        credit_amount=format_amount(credit_minor, exponent=exponent),
        credit_currency=asked.credit_currency,
        rate=asked.rate,
        rate_source=asked.rate_source,
        rounding=_decimal((credit_minor - exact) / 10**exponent),
    )


def _rate(text: str) -> Fraction:
    rate = Fraction(text) if _RATE.fullmatch(text) else Fraction(0)
    if not rate:
        raise RateMalformed.at("/rate")
    return rate


def _credit_minor(text: str | None, exact: Fraction, exponent: int) -> int:
    """Return what is credited: as it was asked, or `exact` rounded half to even (ISO 80000-1, B.3)."""
    minor = round(exact) if text is None else positive_at("/credit_amount", text, exponent)
    if minor == 0:
        raise ExchangeTooSmall.at("/amount")
    if minor > AMOUNT_MINOR_MAX:
        raise AmountTooLarge.at("/credit_amount")
    if abs(minor - exact) >= 1:
        near = format_amount(round(exact), exponent=exponent)
        raise ExchangeDisagrees.at("/credit_amount", detail=f"Amount times rate is {near}, rounded to the minor unit.")
    return minor


def _decimal(number: Fraction) -> str:
    """Return all digits of a number whose denominator divides a power of ten."""
    decimals = 0
    while (number * 10**decimals).denominator != 1:
        decimals += 1
    return format_amount(int(number * 10**decimals), exponent=decimals)
