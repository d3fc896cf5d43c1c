"""The Czech bank of the PKDD'99 Discovery Challenge: semicolons, quotes, CRLF, dates YYMMDD of the 1900s, CZK."""

from __future__ import annotations

import csv
import hashlib
import re
from datetime import date
from typing import NamedTuple

from ledger.domain.money import AmountInvalid, parse_limit, parse_positive_amount
from ledger.kinds import KINDS
from ledger.statements.base import Bank, LineMalformed, StatementLine

_NUMBER = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_DATE = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{2})", re.ASCII)
_EXPONENT = 2

# Whether the customer is debited.
_DIRECTIONS = {"PRIJEM": False, "VYDAJ": True, "VYBER": True}
# The purpose decides before the operation: interest and fees are also written as withdrawals.
_TYPES_BY_PURPOSE = {"UROK": "interest", "SLUZBY": "fee", "SANKC. UROK": "penalty_interest"}
_OTHER_PURPOSES = ("", "SIPO", "DUCHOD", "POJISTNE", "UVER")
_TYPES_BY_OPERATION = {
    "VKLAD": "cash_in",
    "VYBER": "cash_out",
    "PREVOD Z UCTU": "bank_transfer_in",
    "PREVOD NA UCET": "bank_transfer_out",
    "VYBER KARTOU": "card",
    "": "interest",
}


class _Fields(NamedTuple):
    trans_id: str
    account_id: str
    date: str
    type: str
    operation: str
    amount: str
    balance: str
    k_symbol: str
    bank: str
    account: str


def parse(number: int, text: str) -> StatementLine:
    """Return a line, understood.

    Raises:
        LineMalformed: a field is not what the format says, or the fields contradict one another.
    """
    fields = _split(text)
    named = {
        "k_symbol": fields.k_symbol,
        "counterparty_bank": fields.bank,
        "counterparty_account": fields.account,
    }
    return StatementLine(
        number=number,
        id=_number("trans_id", fields.trans_id),
        account=_number("account_id", fields.account_id),
        on=_date(fields.date),
        type=_type(fields),
        amount=_amount(fields.amount),
        balance_minor=_balance(fields.balance),
        # No field holds a control character, so that the joined text says where each ends.
        content_hash=hashlib.sha256("\n".join(("pkdd99", *fields)).encode()).digest(),
        metadata={name: value for name, value in named.items() if value},
    )


def _split(text: str) -> _Fields:
    try:
        # One line at a time: a quote that is never closed must not swallow the lines after it.
        values = next(csv.reader([text], delimiter=";", strict=True))
    except csv.Error as error:
        raise LineMalformed(f"its quotes are wrong ({error})") from error
    if len(values) != len(_Fields._fields):
        raise LineMalformed(f"it has {len(values)} fields, not {len(_Fields._fields)}")
    return _Fields(*(value.strip() for value in values))


def _number(name: str, text: str) -> str:
    if not _NUMBER.fullmatch(text):
        raise LineMalformed(f"{name} {text!r} is no number")
    return text


def _date(text: str) -> date:
    match = _DATE.fullmatch(text)
    try:
        if match is not None:
            return date(1900 + int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        pass  # a month or day that no calendar has
    raise LineMalformed(f"date {text!r} is no date YYMMDD")


def _type(fields: _Fields) -> str:
    if fields.type not in _DIRECTIONS:
        raise LineMalformed(f"type {fields.type!r} is unknown")
    if fields.operation not in _TYPES_BY_OPERATION:
        raise LineMalformed(f"operation {fields.operation!r} is unknown")
    if fields.k_symbol not in _TYPES_BY_PURPOSE and fields.k_symbol not in _OTHER_PURPOSES:
        raise LineMalformed(f"k_symbol {fields.k_symbol!r} is unknown")
    name = _TYPES_BY_PURPOSE.get(fields.k_symbol, _TYPES_BY_OPERATION[fields.operation])
    if KINDS[name].customer_is_debited != _DIRECTIONS[fields.type]:
        raise LineMalformed(f"type {fields.type!r} contradicts {name}")
    return name


def _amount(text: str) -> str:
    try:
        parse_positive_amount(text, exponent=_EXPONENT)
    except AmountInvalid as error:
        raise LineMalformed(f"amount {text!r}: {error}") from error
    return text


def _balance(text: str) -> int:
    try:
        return parse_limit(text, exponent=_EXPONENT)
    except AmountInvalid as error:
        raise LineMalformed(f"balance {text!r}: {error}") from error


BANK = Bank(
    name="pkdd99",
    currency="CZK",
    exponent=_EXPONENT,
    header=";".join(f'"{name}"' for name in _Fields._fields),
    rounding_minor=50,
    parse=parse,
)
