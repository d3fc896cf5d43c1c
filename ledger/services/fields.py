"""What fields of a request say of accounts, currencies and amounts; what they say wrong has its pointer and code."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ledger.domain.accounts import AccountRef
from ledger.domain.money import AmountInvalid, parse_amount, parse_limit, parse_positive_amount
from ledger.errors import AMOUNT_REFUSALS, AccountUnknown, CurrencyMismatch, CurrencyUnknown
from ledger.queries.accounts import exponent_of

Accounts = Mapping[str, AccountRef]


def account_at(pointer: str, name: str | None, accounts: Accounts, *, why: str = "") -> AccountRef:
    """Return an account that was looked up by its name; `why` tells what one is for that the request does not name.

    Raises:
        AccountUnknown
    """
    assert name is not None, "a door asks for all that a form needs"
    if name not in accounts:
        missing = f"There is no account {name!r}"
        raise AccountUnknown.at(pointer, detail=f"{missing}, {why}: open it first." if why else f"{missing}.")
    return accounts[name]


def exponent_at(pointer: str, currency: str) -> int:
    """Return the number of a currency's decimals.

    Raises:
        CurrencyUnknown
    """
    exponent = exponent_of(currency)
    if exponent is None:
        raise CurrencyUnknown.at(pointer, detail=f"There is no currency {currency!r}.")
    return exponent


def check_currency(pointer: str, account: AccountRef, currency: str) -> None:
    """Refuse a currency that is not the account's.

    Raises:
        CurrencyMismatch
    """
    if account.currency != currency:
        raise CurrencyMismatch.at(pointer, detail=f"Account {account.path} is in {account.currency}.")


def positive_at(pointer: str, text: str, exponent: int) -> int:
    """Return the minor units of an amount above zero.

    Raises:
        Invalid: it is none.
    """
    return _minor(parse_positive_amount, pointer, text, exponent)


def amount_at(pointer: str, text: str, exponent: int) -> int:
    """Return the minor units of an amount that may be nothing.

    Raises:
        Invalid: it is none.
    """
    return _minor(parse_amount, pointer, text, exponent)


def limit_at(pointer: str, text: str | None, exponent: int) -> int | None:
    """Return the minor units of a floor or ceiling, None for none.

    Raises:
        Invalid: it is no amount of that currency.
    """
    return None if text is None else _minor(parse_limit, pointer, text, exponent)


def _minor(parse: Callable[..., int], pointer: str, text: str, exponent: int) -> int:
    try:
        return parse(text, exponent=exponent)
    except AmountInvalid as error:
        raise AMOUNT_REFUSALS[error.code].at(pointer, detail=str(error)) from error
