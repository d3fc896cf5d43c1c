"""What an ask comes to in plain Python: the legs of a transfer, an exchange, a fee, or as they were named."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from tests.ledger.model.asks import DECIMALS, Ask
from tests.ledger.model.boxes import Box

# In percent of the amount.
COSTS = {"instant_payout": 1}

Boxes = Mapping[str, Box]
Legs = tuple[tuple[str, int], ...]


class Agreed(NamedTuple):
    """The legs of an amount, debits positive, and what was agreed where these are more than a debit and a credit."""

    amount: int
    legs: Legs
    is_divisible: bool = False
    fee: int = 0
    credited: int | None = None
    rounding: Fraction | None = None

    @property
    def paths(self) -> set[str]:
        return {path for path, _ in self.legs}

    def portion(self, amount: int) -> Legs:
        """Return the legs of so much of it."""
        if amount == self.amount:
            return self.legs
        assert self.is_divisible
        return tuple((path, amount if leg > 0 else -amount) for path, leg in self.legs)


def agreed(ask: Ask, boxes: Boxes) -> Agreed | str:
    """Return what is to be booked, or the code of what is wrong with it."""
    if ask.kind == "reversal":
        return "type_unknown"
    if not boxes.keys() >= set(ask.named):
        return "account_unknown"
    return _by_legs(ask, boxes) if ask.legs else _between_two(ask, boxes)


def exact_credit(ask: Ask, boxes: Boxes) -> Fraction:
    """Return what an exchange comes to in minor units of the other currency, before it is rounded."""
    currency, other = boxes[ask.debit].currency, boxes[ask.credit].currency
    assert ask.rate is not None
    return Fraction(ask.rate) * ask.amount * Fraction(10) ** (DECIMALS[other] - DECIMALS[currency])


def half_even(exact: Fraction) -> int:
    """Round to a whole number, from the middle to the even one."""
    whole, twice = exact // 1, 2 * (exact % 1)
    return whole + (twice > 1 or (twice == 1 and whole % 2 == 1))


def _by_legs(ask: Ask, boxes: Boxes) -> Agreed | str:
    if _is_on_both_sides(ask.legs):
        return "same_account"
    first = boxes[ask.legs[0][0]].currency
    for currency in {boxes[path].currency for path, _ in ask.legs}:
        if sum(amount for path, amount in ask.legs if boxes[path].currency == currency):
            return "legs_unbalanced"
    return Agreed(sum(max(amount, 0) for path, amount in ask.legs if boxes[path].currency == first), ask.legs)


def _between_two(ask: Ask, boxes: Boxes) -> Agreed | str:
    currency, other = boxes[ask.debit].currency, boxes[ask.credit].currency
    if ask.debit == ask.credit:
        return "same_account"
    if ask.rate is not None:
        wrong = "exchange_within_currency" if currency == other else _disagreement(ask, boxes)
    else:
        wrong = "currency_mismatch" if currency != other else None
    if wrong is not None:
        return wrong
    found = Agreed(ask.amount, ((ask.debit, ask.amount), (ask.credit, -ask.amount)), is_divisible=True)
    found = _with_fee(ask, _exchanged(ask, boxes) if ask.rate is not None else found, currency)
    if not boxes.keys() >= found.paths:
        return "account_unknown"
    return "same_account" if _is_on_both_sides(found.legs) else found


def _disagreement(ask: Ask, boxes: Boxes) -> str | None:
    """Return what is wrong with what an exchange credits."""
    exact = exact_credit(ask, boxes)
    credited = half_even(exact) if ask.credit_amount is None else ask.credit_amount
    if not credited:
        return "exchange_too_small"
    return "exchange_disagrees" if abs(credited - exact) >= 1 else None


def _exchanged(ask: Ask, boxes: Boxes) -> Agreed:
    currency, other = boxes[ask.debit].currency, boxes[ask.credit].currency
    exact = exact_credit(ask, boxes)
    credited = half_even(exact) if ask.credit_amount is None else ask.credit_amount
    legs = (
        (ask.debit, ask.amount),
        (ask.credit, -credited),
        (f"liquidity:{currency}", -ask.amount),
        (f"liquidity:{other}", credited),
    )
    return Agreed(ask.amount, legs, credited=credited, rounding=(credited - exact) / 10 ** DECIMALS[other])


def _with_fee(ask: Ask, found: Agreed, currency: str) -> Agreed:
    fee = half_even(Fraction(ask.amount * COSTS.get(ask.kind, 0), 100)) if ask.fee is None else ask.fee
    if not fee:
        return found
    legs = (*found.legs, (ask.debit, fee), (f"fees:{currency}", -fee))
    return found._replace(legs=legs, fee=fee, is_divisible=False)


def _is_on_both_sides(legs: Legs) -> bool:
    debited, credited = ({path for path, amount in legs if (amount > 0) == is_debit} for is_debit in (True, False))
    return not debited.isdisjoint(credited)
