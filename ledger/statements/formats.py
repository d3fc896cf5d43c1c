"""How banks write dates and numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from typing import Final

from ledger.domain.money import AMOUNT_MINOR_MAX

YEARS = range(1900, 2200)  # what lies beyond is mistyped
_TOKENS: Final = {
    "YYYY": r"(?P<year>[0-9]{4})",
    "YY": r"(?P<year>[0-9]{2})",
    "MMM": r"(?P<name>[A-Za-z]{3})",
    "MM": r"(?P<month>[0-9]{2})",
    "M": r"(?P<month>[0-9]{1,2})",
    "DD": r"(?P<day>[0-9]{2})",
    "D": r"(?P<day>[0-9]{1,2})",
    "hh": r"(?:[01][0-9]|2[0-3])",
    "mm": r"[0-5][0-9]",
    "ss": r"[0-5][0-9]",
}
_BETWEEN = "-./:, TZ"
_TOKEN = re.compile("|".join(_TOKENS) + "|.", re.DOTALL)
_PARTS = {"year": {"YYYY", "YY"}, "month": {"MMM", "MM", "M"}, "day": {"DD", "D"}}
_OF_ANY_WIDTH = {"M", "D"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DIGITS_MAX = 38

ReadDate = Callable[[str], date]
ReadNumber = Callable[[str, int], int]


class ValueMalformed(ValueError):
    """The text is no such date or number; says why."""


def date_reader(form: str, century: int | None) -> ReadDate:
    """Return what reads dates of a form such as DD.MM.YYYY; the hours of YYYY-MM-DDThh:mm:ss are read and forgotten.

    `century` is what is added to years of two digits.

    Raises:
        ValueError: no dates can have this form.
    """
    tokens = _tokens(form)
    if ("YY" in tokens) != (century is not None):
        raise ValueError("a century goes with a year of two digits (YY), and with no other")
    pattern = re.compile("".join(_TOKENS.get(token) or re.escape(token) for token in tokens))

    def read(text: str) -> date:
        match = pattern.fullmatch(text)
        try:
            if match is not None:
                found = match.groupdict()
                month = int(found["month"]) if "month" in found else _MONTHS.index(found["name"].title()) + 1
                on = date((century or 0) + int(found["year"]), month, int(found["day"]))
                if on.year in YEARS:
                    return on
        except ValueError:
            pass  # a month or a day that no calendar has
        raise ValueMalformed(f"{text!r} is no date {form}")

    return read


def _tokens(form: str) -> list[str]:
    tokens = [match[0] for match in _TOKEN.finditer(form)]
    odd = next((token for token in tokens if token not in _TOKENS and token not in _BETWEEN), None)
    if odd is not None:
        raise ValueError(f"{form!r} has {odd!r}, which is neither one of {', '.join(_TOKENS)} nor one of {_BETWEEN}")
    for what, names in _PARTS.items():
        if sum(token in names for token in tokens) != 1:
            raise ValueError(f"{form!r} does not have one {what}")
    for before, after in pairwise(tokens):
        if before in _TOKENS and after in _TOKENS and _OF_ANY_WIDTH & {before, after}:
            raise ValueError(f"{form!r} does not tell where {before} ends")
    return tokens


def number_reader(decimal: str, thousands: str) -> ReadNumber:
    """Return what reads numbers such as -1.234,56 as minor units of a currency with so many decimals.

    Raises:
        ValueError: the two separators are the same.
    """
    if decimal == thousands:
        raise ValueError(f"{decimal!r} cannot both separate thousands and decimals")
    mark, group = re.escape(decimal), re.escape(thousands)
    grouped = f"[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|" if thousands else ""
    pattern = re.compile(f"([-+]?)({grouped}[0-9]{{1,{_DIGITS_MAX}}})(?:{mark}([0-9]{{1,{_DIGITS_MAX}}}))?")

    def read(text: str, exponent: int) -> int:
        match = pattern.fullmatch(text)
        if match is None:
            raise ValueMalformed(f"{text!r} is no number such as 1{thousands}234{decimal}56")
        sign, whole, decimals = match.groups(default="")
        decimals = decimals.rstrip("0")
        if len(decimals) > exponent:
            raise ValueMalformed(f"{text!r} has more decimals than the currency, which has {exponent}")
        minor = int(whole.replace(thousands, "") + decimals.ljust(exponent, "0"))
        if minor > AMOUNT_MINOR_MAX:
            raise ValueMalformed(f"{text!r} has more than 38 digits")
        return -minor if sign == "-" else minor

    return read
