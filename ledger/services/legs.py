"""From what was asked to the legs that are booked: two, those of an exchange, of a fee, or as they were named."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from ledger.domain.accounts import AccountRef
from ledger.domain.balances import Side
from ledger.domain.legs import Exchange, Leg, Terms, pair, terms_of
from ledger.domain.money import AMOUNT_MINOR_MAX, AmountInvalid, format_amount, parse_amount, parse_positive_amount
from ledger.errors import (
    AMOUNT_REFUSALS,
    AccountUnknown,
    AmountTooLarge,
    CurrencyMismatch,
    CurrencyUnknown,
    ExchangeDisagrees,
    ExchangeIncomplete,
    ExchangeTooSmall,
    ExchangeWithin,
    LegsUnbalanced,
    RateMalformed,
    SameAccount,
)
from ledger.kinds import KINDS
from ledger.queries.accounts import exponent_of
from ledger.services.submissions import LegAsked, Submission

_RATE = re.compile(r"(0|[1-9][0-9]{0,19})(?:\.([0-9]{1,20}))?", re.ASCII)
_OF_AN_EXCHANGE = ("credit_currency", "rate", "rate_source")

Accounts = Mapping[str, AccountRef]


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a transaction moves; `terms` is None for one amount between two accounts."""

    amount_minor: int
    legs: tuple[Leg, ...]
    terms: Terms | None = None


def account_names(submissions: Iterable[Submission]) -> set[str]:
    """Return the accounts that submissions need, by id or path."""
    names: set[str | None] = set()
    for asked in submissions:
        if asked.legs:
            names.update(leg.account for leg in asked.legs)
            continue
        names |= {asked.debit_account, asked.credit_account}
        if _has_fee(asked):
            names.add(_fees(asked.currency))
        if _is_exchange(asked):
            names |= {_liquidity(asked.currency), _liquidity(asked.credit_currency)}
    return {name for name in names if name is not None}


def agree(asked: Submission, accounts: Accounts) -> Agreed:
    """Return what is to be moved; `accounts` has those of `account_names` that exist.

    Raises:
        Invalid: a field, or an account that is missing or of another currency.
    """
    if asked.legs:
        return _by_legs(asked.legs, accounts)
    assert asked.amount is not None
    assert asked.currency is not None
    debit = _account(accounts, "/debit_account", asked.debit_account)
    credit = _account(accounts, "/credit_account", asked.credit_account)
    if debit is credit or debit.id == credit.id:
        raise SameAccount.at("/credit_account")
    exponent = _exponent("/currency", asked.currency)
    _check_currency("/currency", debit, asked.currency)
    if not _is_exchange(asked):
        _check_currency("/currency", credit, asked.currency)
    amount_minor = _positive("/amount", asked.amount, exponent)
    fee_minor = _fee(asked, amount_minor, exponent)
    legs: tuple[Leg, ...] = pair(debit, credit, amount_minor)
    exchange = None
    if _is_exchange(asked):
        legs, exchange = _exchanged(asked, accounts, debit, credit, amount_minor)
    if fee_minor:
        of = "/type" if asked.fee is None else "/fee"
        fees = _account(accounts, of, _fees(asked.currency), why="where fees go")
        legs = (*legs, *pair(debit, fees, fee_minor))
    if not fee_minor and exchange is None:
        return Agreed(amount_minor, legs)
    _refuse_both_sides((leg, "/debit_account" if leg.account is debit else "/credit_account") for leg in legs)
    return Agreed(amount_minor, legs, terms_of(legs, fee_minor=fee_minor or None, exchange=exchange))


def _by_legs(asked: tuple[LegAsked, ...], accounts: Accounts) -> Agreed:
    legs = tuple([_leg(f"/legs/{index}", one, accounts) for index, one in enumerate(asked)])
    _refuse_both_sides((leg, f"/legs/{index}/account") for index, leg in enumerate(legs))
    sums, debits = Counter[str](), Counter[str]()
    for account, amount_minor in legs:
        sums[account.currency] += amount_minor
        debits[account.currency] += max(amount_minor, 0)
    for currency, left_minor in sums.items():
        if left_minor:
            more, exponent = "debits" if left_minor > 0 else "credits", _exponent("/legs", currency)
            by = format_amount(abs(left_minor), exponent=exponent)
            raise LegsUnbalanced.at("/legs", detail=f"In {currency} the {more} are more by {by}.")
    amount_minor = debits[legs[0].account.currency]
    if amount_minor > AMOUNT_MINOR_MAX:
        raise AmountTooLarge.at("/legs")
    return Agreed(amount_minor, legs, terms_of(legs, by_legs=True))


def _leg(pointer: str, asked: LegAsked, accounts: Accounts) -> Leg:
    account = _account(accounts, f"{pointer}/account", asked.account)
    exponent = _exponent(f"{pointer}/currency", asked.currency)
    _check_currency(f"{pointer}/currency", account, asked.currency)
    amount_minor = _positive(f"{pointer}/amount", asked.amount, exponent)
    return Leg(account, amount_minor if asked.side == Side.DEBIT else -amount_minor)


def _refuse_both_sides(placed: Iterable[tuple[Leg, str]]) -> None:
    is_debited: dict[int, bool] = {}
    for leg, pointer in placed:
        is_debit = leg.amount_minor > 0
        if is_debited.setdefault(leg.account.id, is_debit) is not is_debit:
            raise SameAccount.at(pointer, detail=f"Account {leg.account.path} would be on both sides.")


def _is_exchange(asked: Submission) -> bool:
    return any((asked.credit_currency, asked.credit_amount, asked.rate, asked.rate_source))


def _exchanged(
    asked: Submission, accounts: Accounts, debit: AccountRef, credit: AccountRef, amount_minor: int
) -> tuple[tuple[Leg, ...], Exchange]:
    """Return the legs through the client's liquidity accounts, and what was agreed."""
    for name in _OF_AN_EXCHANGE:
        if not getattr(asked, name):
            raise ExchangeIncomplete.at(f"/{name}")
    assert asked.credit_currency is not None
    assert asked.rate is not None
    assert asked.rate_source is not None
    if asked.credit_currency == asked.currency:
        raise ExchangeWithin.at("/credit_currency")
    exponent = _exponent("/credit_currency", asked.credit_currency)
    _check_currency("/credit_currency", credit, asked.credit_currency)
    exact = Fraction(amount_minor * 10**exponent, 10**debit.exponent) * _rate(asked.rate)
    credit_minor = _credit_minor(asked.credit_amount, exact, exponent)
    bought = _account(accounts, "/currency", _liquidity(asked.currency), why="that exchanges go through")
    sold = _account(accounts, "/credit_currency", _liquidity(asked.credit_currency), why="that exchanges go through")
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
    minor = round(exact) if text is None else _positive("/credit_amount", text, exponent)
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


def _has_fee(asked: Submission) -> bool:
    return asked.fee is not None or (asked.type in KINDS and KINDS[asked.type].fee_basis_points > 0)


def _fee(asked: Submission, amount_minor: int, exponent: int) -> int:
    """Return what the debit account pays on top: as it was asked, or what the type costs, rounded half to even."""
    if asked.fee is None:
        return round(Fraction(amount_minor * KINDS[asked.type].fee_basis_points, 10_000))
    try:
        return parse_amount(asked.fee, exponent=exponent)
    except AmountInvalid as error:
        raise AMOUNT_REFUSALS[error.code].at("/fee", detail=str(error)) from error


def _fees(currency: str | None) -> str:
    return f"fees:{currency}"


def _liquidity(currency: str | None) -> str:
    return f"liquidity:{currency}"


def _account(accounts: Accounts, pointer: str, name: str | None, *, why: str = "") -> AccountRef:
    assert name is not None
    if name not in accounts:
        missing = f"There is no account {name!r}"
        raise AccountUnknown.at(pointer, detail=f"{missing}, {why}: open it first." if why else f"{missing}.")
    return accounts[name]


def _exponent(pointer: str, currency: str) -> int:
    exponent = exponent_of(currency)
    if exponent is None:
        raise CurrencyUnknown.at(pointer, detail=f"There is no currency {currency!r}.")
    return exponent


def _check_currency(pointer: str, account: AccountRef, currency: str) -> None:
    if account.currency != currency:
        raise CurrencyMismatch.at(pointer, detail=f"Account {account.path} is in {account.currency}.")


def _positive(pointer: str, text: str, exponent: int) -> int:
    try:
        return parse_positive_amount(text, exponent=exponent)
    except AmountInvalid as error:
        raise AMOUNT_REFUSALS[error.code].at(pointer, detail=str(error)) from error
