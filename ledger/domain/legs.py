"""What a transaction moves: its legs, and what else was agreed where these are more than one amount between two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from ledger.domain.accounts import AccountRef
from ledger.domain.balances import Side
from ledger.domain.money import format_amount
from ledger.domain.shapes import LegShape, account_name

LEGS_MIN, LEGS_MAX = 2, 100


class Leg(NamedTuple):
    """So much of one account, in minor units, debits positive."""

    account: AccountRef
    amount_minor: int


Legs = Sequence[Leg]
_NOTHING_MORE: Final = dict.fromkeys(
    ("legs", "fee", "credit_amount", "credit_currency", "rate", "rate_source", "rounding")
)


class Exchange(Struct, frozen=True):
    """What the credit account gets in its own currency, and the rate that was agreed.

    `rate` is major units of that currency for one of the other; `rounding` is by how much more than `amount * rate` was
    credited, in major units too.
    """

    credit_amount: str
    credit_currency: str
    rate: str
    rate_source: str
    rounding: str


class Terms(Struct, frozen=True, omit_defaults=True):
    """What is stored of a transaction that is not one amount between two accounts; minor units are decimal texts.

    `legs` are the ids and amounts of the legs: first those of the debit and of the credit account, unless it was asked
    for `by_legs`.
    """

    legs: tuple[tuple[int, str], ...]
    by_legs: bool = False
    fee_minor: str | None = None
    exchange: Exchange | None = None


def pair(debit: AccountRef, credit: AccountRef, amount_minor: int) -> tuple[Leg, Leg]:
    """Return the legs of one amount between two accounts."""
    return Leg(debit, amount_minor), Leg(credit, -amount_minor)


def terms_of(
    legs: Legs, *, by_legs: bool = False, fee_minor: int | None = None, exchange: Exchange | None = None
) -> Terms:
    """Return what is to be stored of these legs."""
    stored = tuple((leg.account.id, str(leg.amount_minor)) for leg in legs)
    return Terms(stored, by_legs, None if fee_minor is None else str(fee_minor), exchange)


class StoredLegs(NamedTuple):
    """The legs of a transaction as its row has them; `terms` is None for one amount between two accounts."""

    debit_account_id: int | None
    credit_account_id: int | None
    amount_minor: int
    terms: Terms | None

    @property
    def pairs(self) -> Iterable[tuple[int, int]]:
        """The accounts' ids, each with its amount, debits positive."""
        if self.terms is not None:
            return [(account_id, int(amount)) for account_id, amount in self.terms.legs]
        assert self.debit_account_id is not None
        assert self.credit_account_id is not None
        return (self.debit_account_id, self.amount_minor), (self.credit_account_id, -self.amount_minor)

    @property
    def account_ids(self) -> list[int]:
        """The accounts' ids."""
        return [account_id for account_id, _ in self.pairs]

    def found(self, accounts: Mapping[int, AccountRef]) -> tuple[Leg, ...]:
        """Return the legs; `accounts` has those of `account_ids`."""
        return tuple([Leg(accounts[account_id], amount_minor) for account_id, amount_minor in self.pairs])


def totals(legs: Iterable[Leg]) -> dict[int, int]:
    """Return what comes to each account, by its id: no account is on both sides."""
    found: dict[int, int] = {}
    for account, amount_minor in legs:
        found[account.id] = found.get(account.id, 0) + amount_minor
    return found


def shown_terms(terms: Terms | None, legs: Legs) -> dict[str, Any]:
    """Return the fields of a transaction's shape that say what was agreed."""
    if terms is None:
        return _NOTHING_MORE
    fields = dict(_NOTHING_MORE)
    if terms.by_legs:
        fields["legs"] = [_leg_shape(leg) for leg in legs]
    if terms.fee_minor is not None:
        fields["fee"] = format_amount(int(terms.fee_minor), exponent=legs[0].account.exponent)
    if terms.exchange is not None:
        fields |= msgspec.structs.asdict(terms.exchange)
    return fields


def _leg_shape(leg: Leg) -> LegShape:
    return LegShape(
        account=account_name(leg.account),
        side=(Side.DEBIT if leg.amount_minor > 0 else Side.CREDIT).value,
        amount=format_amount(abs(leg.amount_minor), exponent=leg.account.exponent),
        currency=leg.account.currency,
    )
