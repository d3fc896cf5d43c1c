"""Amounts: whole numbers of minor units inside, decimal strings in major units outside. Never a float."""

from __future__ import annotations

import re

AMOUNT_MINOR_MAX = 10**38 - 1
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,99})(?:\.([0-9]{1,38}))?", re.ASCII)


class AmountInvalid(ValueError):
    """The text is no amount of this currency; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def parse_amount(text: str, *, exponent: int) -> int:
    """Return the minor units of a decimal text such as "10.00".

    ASCII digits with at most `exponent` decimals; no sign, no exponent, no grouping, no leading zeros.

    Raises:
        AmountInvalid: `amount_malformed`, `amount_negative`, `amount_too_many_decimals` or `amount_too_large`.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None and text.startswith("-") and _DECIMAL.fullmatch(text, 1):
        raise AmountInvalid("amount_negative", "An amount is never negative: the two accounts say which way it goes.")
    if match is None:
        raise AmountInvalid("amount_malformed", 'An amount is a decimal text such as "10.00", without a sign.')
    whole, decimals = match[1], match[2] or ""
    if len(decimals) > exponent:
        raise AmountInvalid("amount_too_many_decimals", f"This currency has {exponent} decimals.")
    minor = int(whole + decimals.ljust(exponent, "0"))
    if minor > AMOUNT_MINOR_MAX:
        raise AmountInvalid("amount_too_large", "An amount has at most 38 digits in minor units.")
    return minor


def parse_positive_amount(text: str, *, exponent: int) -> int:
    """Return the minor units of an amount above zero.

    Raises:
        AmountInvalid: as `parse_amount`, or `amount_not_positive`.
    """
    minor = parse_amount(text, exponent=exponent)
    if minor == 0:
        raise AmountInvalid("amount_not_positive", "An amount must be above zero.")
    return minor


def format_amount(minor: int, *, exponent: int) -> str:
    """Return minor units as text with exactly the currency's decimals, such as "-0.05"."""
    if exponent == 0:
        return str(minor)
    sign, digits = ("-", str(-minor)) if minor < 0 else ("", str(minor))
    digits = digits.rjust(exponent + 1, "0")
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}"


def parse_limit(text: str, *, exponent: int) -> int:
    """Return the minor units of a floor or ceiling, which may stand below zero: "-500.00" allows an overdraft.

    Raises:
        AmountInvalid: as `parse_amount`.
    """
    if text.startswith("-"):
        return -parse_positive_amount(text[1:], exponent=exponent)
    return parse_amount(text, exponent=exponent)
