"""Receipt codes: a transaction's UUIDv7 for people, and back without loss.

`RCP-20261121-` is the UTC day of the id; 21 characters of Crockford's base32 hold the milliseconds of that day (27
bits) and the id's 74 remaining bits; the last character checks the whole. Each character is an element of GF(32), the
check their sum weighted by powers of a primitive element: it finds every wrong character and every swap of neighbours.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from uuid import UUID

from config.runtime.ids import CROCKFORD, EPOCH

_VALUES = {character: value for value, character in enumerate(CROCKFORD)} | {"O": 0, "I": 1, "L": 1}
_FORM = re.compile(r"RCP-([0-9]{8})-([0-9A-Z]{21})([0-9A-Z])", re.ASCII)
_IN_TEXT = re.compile(r"\bRCP-[0-9]{8}-[0-9A-Z]{22}\b", re.ASCII | re.IGNORECASE)
_DAY_MS = 86_400_000
_REST_BITS = 101
_TAIL_BITS = 74


def _shift(remainder: int) -> int:
    """Multiply by x⁵ modulo x⁵ + x² + 1."""
    for _ in range(5):
        remainder <<= 1
        if remainder & 0b100000:
            remainder ^= 0b100101
    return remainder


_SHIFTED = tuple(_shift(value) for value in range(32))
# Codes are made by the thousand, so two characters at a time: pairs of them by their ten bits, and what a pair adds to
# the check.
_PAIRS = tuple(first + second for first in CROCKFORD for second in CROCKFORD)
_PAIR_CHECKS = tuple(_SHIFTED[first] ^ second for first in range(32) for second in range(32))
_SHIFTED_TWICE = tuple(_SHIFTED[_SHIFTED[value]] for value in range(32))
_PAIR_SHIFTS = tuple(range(90, -10, -10))
_FIRST_SHIFT = 100


def _remainder(symbols: str) -> int:
    remainder = 0
    for symbol in symbols:
        remainder = _SHIFTED[remainder] ^ _VALUES[symbol]
    return remainder


@lru_cache(maxsize=64)
def _written(day: int) -> tuple[str, int]:
    """Return the day, counted from 1970, and its remainder. Kept, because nearly all codes are of today."""
    text = (EPOCH + timedelta(days=day)).strftime("%Y%m%d")
    return text, _remainder(text)


def receipt_code(identifier: UUID) -> str:
    """Return the receipt code of a transaction's id, such as `RCP-20261121-0B8TQ…`."""
    bits = identifier.int
    day, ms = divmod(bits >> 80, _DAY_MS)
    rest = ms << _TAIL_BITS | (bits >> 64 & 0xFFF) << 62 | bits & ((1 << 62) - 1)
    on, remainder = _written(day)
    first, pairs = rest >> _FIRST_SHIFT, [rest >> shift & 1023 for shift in _PAIR_SHIFTS]
    remainder = _SHIFTED[remainder] ^ first
    for pair in pairs:
        remainder = _SHIFTED_TWICE[remainder] ^ _PAIR_CHECKS[pair]
    text = "".join([_PAIRS[pair] for pair in pairs])
    return f"RCP-{on}-{CROCKFORD[first]}{text}{CROCKFORD[_SHIFTED[remainder]]}"


def transaction_id_of(code: str) -> UUID | None:
    """Return the id behind a receipt code, or None when the code cannot be one (a mistyped character, say).

    Lower case is read as upper, O as 0, I and L as 1.
    """
    match = _FORM.fullmatch(code.strip().upper()) if code.isascii() else None
    if match is None or "U" in match[2] + match[3]:
        return None
    try:
        on = date(int(match[1][:4]), int(match[1][4:6]), int(match[1][6:]))
    except ValueError:
        return None
    day = (datetime(on.year, on.month, on.day, tzinfo=UTC) - EPOCH).days
    rest = 0
    for character in match[2]:
        rest = rest << 5 | _VALUES[character]
    ms = rest >> _TAIL_BITS
    if day < 0 or rest >> _REST_BITS or ms >= _DAY_MS or _SHIFTED[_remainder(match[1] + match[2])] != _VALUES[match[3]]:
        return None
    tail = rest & ((1 << _TAIL_BITS) - 1)
    return UUID(int=(day * _DAY_MS + ms) << 80 | 7 << 76 | (tail >> 62) << 64 | 2 << 62 | tail & ((1 << 62) - 1))


def receipt_codes_in(text: str) -> set[str]:
    """Return the receipt codes that a text names, as they are written properly."""
    found = (transaction_id_of(match[0]) for match in _IN_TEXT.finditer(text))
    return {receipt_code(identifier) for identifier in found if identifier is not None}
