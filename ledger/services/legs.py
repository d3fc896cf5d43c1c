"""From what was asked to the legs that are booked: as they were named, or two, with those of an exchange and a fee."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from ledger.domain.accounts import AccountRef
from ledger.domain.balances import Side
from ledger.domain.legs import Leg, Terms, pair, terms_of
from ledger.domain.money import AMOUNT_MINOR_MAX, format_amount
from ledger.errors import AmountTooLarge, LegsUnbalanced, SameAccount
from ledger.kinds import KINDS
from ledger.services.exchanges import exchanged, liquidity_names
from ledger.services.fields import Accounts, account_at, amount_at, check_currency, exponent_at, positive_at
from ledger.services.submissions import LegAsked, Submission


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
        if asked.fee is not None or (asked.type in KINDS and KINDS[asked.type].fee_basis_points):
            names.add(f"fees:{asked.currency}")
        if asked.is_exchange:
            names |= liquidity_names(asked)
    return {name for name in names if name is not None}


def agree(asked: Submission, accounts: Accounts) -> Agreed:
    """Return what is to be moved; `accounts` has those of `account_names` that exist.

    Raises:
        Invalid: a field, or an account that is missing or of another currency.
    """
    return _by_legs(asked.legs, accounts) if asked.legs else _between_two(asked, accounts)


def _between_two(asked: Submission, accounts: Accounts) -> Agreed:
    debit, credit, amount_minor = _sides(asked, accounts)
    legs: tuple[Leg, ...] = pair(debit, credit, amount_minor)
    exchange = None
    if asked.is_exchange:
        legs, exchange = exchanged(asked, accounts, debit, credit, amount_minor)
    fee = _fee(asked, accounts, debit, amount_minor)
    if not fee and exchange is None:
        return Agreed(amount_minor, legs)
    legs += fee
    _refuse_both_sides((leg, "/debit_account" if leg.account is debit else "/credit_account") for leg in legs)
    return Agreed(amount_minor, legs, terms_of(legs, fee_minor=fee[0].amount_minor if fee else None, exchange=exchange))


def _sides(asked: Submission, accounts: Accounts) -> tuple[AccountRef, AccountRef, int]:
    assert asked.amount is not None
    assert asked.currency is not None
    debit = account_at("/debit_account", asked.debit_account, accounts)
    credit = account_at("/credit_account", asked.credit_account, accounts)
    if debit is credit or debit.id == credit.id:
        raise SameAccount.at("/credit_account")
    exponent = exponent_at("/currency", asked.currency)
    check_currency("/currency", debit, asked.currency)
    if not asked.is_exchange:
        check_currency("/currency", credit, asked.currency)
    return debit, credit, positive_at("/amount", asked.amount, exponent)


def _fee(asked: Submission, accounts: Accounts, debit: AccountRef, amount_minor: int) -> tuple[Leg, ...]:
    """Return the legs of what the debit account pays on top: as it was asked, or what the type costs, half to even."""
    points = KINDS[asked.type].fee_basis_points
    if asked.fee is None and not points:
        return ()  # nearly always: no fraction is made for it
    if asked.fee is None:
        fee_minor = round(Fraction(amount_minor * points, 10_000))
    else:
        fee_minor = amount_at("/fee", asked.fee, debit.exponent)
    if not fee_minor:
        return ()
    pointer = "/type" if asked.fee is None else "/fee"
    fees = account_at(pointer, f"fees:{debit.currency}", accounts, why="where fees go")
    return pair(debit, fees, fee_minor)


def _by_legs(asked: tuple[LegAsked, ...], accounts: Accounts) -> Agreed:
    legs = tuple([_leg(f"/legs/{index}", one, accounts) for index, one in enumerate(asked)])
    _refuse_both_sides((leg, f"/legs/{index}/account") for index, leg in enumerate(legs))
    _refuse_unbalanced(legs)
    currency = legs[0].account.currency
    amount_minor = sum(max(leg.amount_minor, 0) for leg in legs if leg.account.currency == currency)
    if amount_minor > AMOUNT_MINOR_MAX:
        raise AmountTooLarge.at("/legs")
    return Agreed(amount_minor, legs, terms_of(legs, by_legs=True))


def _leg(pointer: str, asked: LegAsked, accounts: Accounts) -> Leg:
    account = account_at(f"{pointer}/account", asked.account, accounts)
    exponent = exponent_at(f"{pointer}/currency", asked.currency)
    check_currency(f"{pointer}/currency", account, asked.currency)
    amount_minor = positive_at(f"{pointer}/amount", asked.amount, exponent)
    return Leg(account, amount_minor if asked.side == Side.DEBIT else -amount_minor)


def _refuse_unbalanced(legs: Iterable[Leg]) -> None:
    left_minor, exponents = Counter[str](), dict[str, int]()
    for account, amount_minor in legs:
        left_minor[account.currency] += amount_minor
        exponents[account.currency] = account.exponent
    for currency, minor in left_minor.items():
        if minor:
            more, by = "debits" if minor > 0 else "credits", format_amount(abs(minor), exponent=exponents[currency])
            raise LegsUnbalanced.at("/legs", detail=f"In {currency} the {more} are more by {by}.")


def _refuse_both_sides(placed: Iterable[tuple[Leg, str]]) -> None:
    is_debited: dict[int, bool] = {}
    for leg, pointer in placed:
        is_debit = leg.amount_minor > 0
        if is_debited.setdefault(leg.account.id, is_debit) is not is_debit:
            raise SameAccount.at(pointer, detail=f"Account {leg.account.path} would be on both sides.")
