"""Amounts: text in major units outside, whole minor units inside, and nothing lost between."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.money import (
    AMOUNT_MINOR_MAX,
    AmountInvalid,
    format_amount,
    parse_amount,
    parse_limit,
    parse_positive_amount,
)

MINOR = st.integers(0, AMOUNT_MINOR_MAX)
EXPONENTS = st.integers(0, 18)


def refusal(text: str, exponent: int = 2) -> str:
    with pytest.raises(AmountInvalid) as refused:
        parse_positive_amount(text, exponent=exponent)
    return refused.value.code


@given(MINOR, EXPONENTS)
def test_what_is_written_is_read_back(minor: int, exponent: int) -> None:
    assert parse_amount(format_amount(minor, exponent=exponent), exponent=exponent) == minor


@given(st.integers(-AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX), EXPONENTS)
def test_what_is_written_is_the_number_with_the_currencys_decimals(minor: int, exponent: int) -> None:
    text = format_amount(minor, exponent=exponent)
    assert Fraction(text) == Fraction(minor, 10**exponent)
    assert len(text.partition(".")[2]) == exponent


@given(st.integers(-AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX), EXPONENTS)
def test_a_limit_may_stand_below_zero(minor: int, exponent: int) -> None:
    assert parse_limit(format_amount(minor, exponent=exponent), exponent=exponent) == minor


@given(MINOR.filter(bool), st.integers(1, 18))
def test_missing_decimals_are_zeros(minor: int, exponent: int) -> None:
    text = format_amount(minor, exponent=exponent)
    assert parse_amount(text.rstrip("0").rstrip("."), exponent=exponent) == minor


@given(st.text(alphabet="0123456789.,-+eE \u0660\u0661_\n\0x", max_size=12))
def test_whatever_is_read_is_what_it_says(text: str) -> None:
    try:
        minor = parse_amount(text, exponent=2)
    except AmountInvalid:
        return
    assert text.isascii()
    assert text.replace(".", "", 1).isdigit()
    assert Fraction(text) * 100 == minor


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ".",
            ".5",
            "5.",
            "01",
            "00.10",
            "+1",
            " 1",
            "1 ",
            "1\n",
            "1\0",
            "1e2",
            "1E2",
            "0x10",
            "1.0.0",
            "1.-5",
        ),
        *("1,000.00", "1 000", "1_000", "1'000", "1/2", "$1", "NaN", "Infinity"),
        *("\u0661\u0660", "\uff11\uff10", "\u00bd", "\u00b2", "1\u066b0"),
    ],
)
def test_what_is_no_plain_decimal_is_malformed(text: str) -> None:
    assert refusal(text) == "amount_malformed"


@pytest.mark.parametrize(("text", "exponent"), [("1.001", 2), ("1.0", 0), ("0.0000000000000000001", 18), ("1.000", 2)])
def test_more_decimals_than_the_currency_has_are_refused(text: str, exponent: int) -> None:
    assert refusal(text, exponent) == "amount_too_many_decimals"


@pytest.mark.parametrize("text", ["-1", "-0.01", "-0"])
def test_an_amount_below_zero_is_negative(text: str) -> None:
    assert refusal(text) == "amount_negative"


@pytest.mark.parametrize("text", ["0", "0.0", "0.00"])
def test_nothing_is_no_amount(text: str) -> None:
    assert refusal(text) == "amount_not_positive"


@pytest.mark.parametrize(("text", "exponent"), [("1" + "0" * 36, 2), ("9" * 38, 1), ("9" * 39, 0), ("9" * 80, 2)])
def test_more_than_38_digits_are_too_large(text: str, exponent: int) -> None:
    assert refusal(text, exponent) == "amount_too_large"


def test_the_largest_amount_has_38_digits() -> None:
    assert parse_amount("9" * 36 + ".99", exponent=2) == AMOUNT_MINOR_MAX == 10**38 - 1
    assert format_amount(AMOUNT_MINOR_MAX, exponent=18) == "9" * 20 + "." + "9" * 18


@pytest.mark.parametrize("text", ["--1", "-", "+1", "-0", "-0.00", "\u22121", "-1e3"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(AmountInvalid):
        parse_limit(text, exponent=2)
