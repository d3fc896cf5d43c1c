"""What Hypothesis draws for the ledger and its reference: transactions, some of which were asked before."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.ledger.model.agreements import exact_credit, half_even
from tests.ledger.model.asks import Ask
from tests.ledger.model.books import Books
from tests.ledger.model.boxes import Box
from tests.ledger.model.reference import Reference
from tests.ledger.product.product import Product

EFFORT = float(os.environ.get("STORM_S", "10")) / 10
PLACES = st.integers(0, 20)
# Round amounts and limits, so that balances often end exactly at a limit.
AMOUNTS = st.sampled_from([1, 50, 100, 100, 150, 250, 400])
KEYS = st.sampled_from([f"key-{number}" for number in range(60)])
MAYBE_KEYS = st.none() | KEYS
FEW_KEYS = st.sampled_from([None, None, None, *(f"key-{number}" for number in range(4))])
# How many asks ago the same was asked, if it was.
AGO = st.sampled_from([*[None] * 5, 1, 3, 6, 9])
GROUPS = [None, None, "a", "a", "b"]
HOURS = [*[0] * 20, *[1] * 6, 2, 2, -1, 9000]

S = TypeVar("S")
T = TypeVar("T", Product, Reference)


class Terms(NamedTuple):
    """What of a transaction is not two accounts and an amount; by `off` its parts do not agree, if it says so much."""

    form: str
    rate: str
    fee: int
    off: int | None
    more: tuple[tuple[int, int], ...]


class Times(NamedTuple):
    """When a transaction is booked, how long it is held if it is held, and how long ago it took effect."""

    hours: int
    is_held: bool
    lasts: int | None
    back: int | None


class Drawn(NamedTuple):
    """One transaction, of which `Asked` makes an ask: by the places of its accounts, or a name that is none."""

    debit: int
    credit: int | str
    amount: int
    key: str | None
    ago: int | None
    group: str | None
    terms: Terms
    times: Times


FORMS = [*["two"] * 18, *["fee", "payout", "exchange", "exchange", "legs", "legs"] * 3, "reversal"]
TERMS = st.builds(
    Terms,
    form=st.sampled_from(FORMS),
    rate=st.sampled_from(["1", "1", "5", "149.333", "0.669", "0.5"]),
    fee=st.sampled_from([0, 1, 50]),
    off=st.sampled_from([*[None] * 8, 0, 0, 1, -1, 2]),
    more=st.lists(st.tuples(PLACES, AMOUNTS), min_size=1, max_size=3).map(tuple),
)
BACK = st.sampled_from([*[None] * 40, *[0, 1, 2, 30, 200] * 3, 9000, -1])
LASTS = st.sampled_from([*[None] * 12, *[1, 2, 3] * 4, 744, 744, 745, 0])


def times(hours: Sequence[int], *, is_held: bool) -> Any:
    lasts = LASTS if is_held else st.sampled_from([*[None] * 60, 1])
    return st.builds(Times, hours=st.sampled_from(list(hours)), is_held=st.just(is_held), lasts=lasts, back=BACK)


def drawn(when: Any, groups: Sequence[str | None] = (None,)) -> Any:
    """Return what draws one transaction; few are such that they cannot be booked, whatever stands on the accounts."""
    return st.builds(
        Drawn,
        debit=PLACES,
        credit=st.sampled_from([*[*range(20)] * 3, "itself", "nobody", "any"]),
        amount=AMOUNTS,
        key=MAYBE_KEYS,
        ago=AGO,
        group=st.sampled_from(list(groups)),
        terms=TERMS,
        times=when,
    )


def either(hours: Sequence[int]) -> Any:
    at_once = times(hours, is_held=False)
    return at_once | at_once | times(hours, is_held=True)


NOW = drawn(either([0]))
LATER = drawn(either(HOURS))
HELD = drawn(times([0], is_held=True))
# A batch may not ask for anything later.
ITEM = drawn(either([*[0] * 60, 1]), GROUPS)


def examples(count: int) -> settings:
    """Return settings for `count` examples, always the same; in a longer storm for more, and others each time."""
    return settings(
        suppress_health_check=list(HealthCheck),
        # A failure is shown as it was found: to make it smaller could take minutes.
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        max_examples=max(1, round(count * EFFORT)),
        derandomize=EFFORT <= 1,
    )


def some(one: Any, size_max: int = 12, size_min: int = 1) -> Any:
    return st.lists(one, min_size=size_min, max_size=size_max)


def limited(ledger: T) -> T:
    """Open three accounts that soon refuse something, and those that exchanges and fees go through."""
    for number, (floor, ceiling) in enumerate([(0, None), (0, 500), (-150, None)]):
        ledger.open(f"box:{number}", Box("liability", "USD", floor, ceiling))
    ledger.open("box:3", Box("liability", "JPY", -150, 400))
    opened(ledger)
    return ledger


def opened(ledger: Product | Reference) -> None:
    """Open the accounts that exchanges and fees go through; those of fees in yen nobody has opened."""
    ledger.open("fees:USD", Box("income", ceiling=150))
    ledger.open("liquidity:USD", Box("asset"))
    ledger.open("liquidity:JPY", Box("asset", "JPY"))


def pick(some: Sequence[S], which: int) -> S:
    return some[which % len(some)]


def once(asks: Iterable[Ask]) -> list[Ask]:
    """Return the first of those with one key: a batch names it once."""
    kept: dict[str, Ask] = {}
    for ask in asks:
        kept.setdefault(ask.key or ask.label, ask)
    return list(kept.values())


class Asked:
    """Everything that was asked so far: what is drawn may be something of it again."""

    def __init__(self, reference: Books) -> None:
        self.reference = reference
        self.all: list[Ask] = []

    def make(self, found: Iterable[Drawn]) -> list[Ask]:
        return [self._make(one) for one in found]

    def again(self, asks: list[Ask]) -> list[Ask]:
        """Return the same once more, now, under labels of their own."""
        hour = self.reference.hour
        relabelled = [replace(one, label=f"ask-{len(self.all) + at}", asked=hour) for at, one in enumerate(asks)]
        self.all += relabelled
        return relabelled

    def _make(self, found: Drawn) -> Ask:
        ask = self._of_form(found, list(self.reference.boxes))
        before = [one for one in self.all if one.takes_back is None]
        if found.ago is not None and before:
            ask = before[-min(found.ago, len(before))]
        return self.again([replace(ask, group=found.group)])[0]

    def _of_form(self, found: Drawn, paths: list[str]) -> Ask:
        debit, terms = pick(paths, found.debit), found.terms
        credit = self._credit(debit, paths, found)
        plain = Ask("", debit, credit, found.amount, found.key, **found.times._asdict())
        if terms.form == "fee":
            return replace(plain, fee=terms.fee)
        if terms.form == "payout":
            return replace(plain, kind="instant_payout", fee=None if terms.fee == 1 else terms.fee)
        if terms.form == "exchange":
            return self._exchange(plain, found)
        if terms.form == "legs":
            return replace(plain, debit="", credit="", amount=0, legs=self._legs(plain, terms))
        return replace(plain, kind=terms.form) if terms.form == "reversal" else plain

    def _credit(self, debit: str, paths: list[str], found: Drawn) -> str:
        """Return another account of the same currency, or of another for an exchange."""
        boxes, is_exchange = self.reference.boxes, found.terms.form == "exchange"
        fit = [path for path in paths if (boxes[path].currency == boxes[debit].currency) is not is_exchange]
        if isinstance(found.credit, int):
            return pick([path for path in fit if path != debit], found.credit)
        return {"itself": debit, "any": pick(paths, found.debit + 5)}.get(found.credit, found.credit)

    def _exchange(self, plain: Ask, found: Drawn) -> Ask:
        boxes = self.reference.boxes
        ask = replace(plain, rate=found.terms.rate, fee=1 if found.terms.fee == 1 else None)
        if found.terms.off is None or plain.credit not in boxes:
            return ask
        credited = half_even(exact_credit(ask, boxes)) + found.terms.off
        return replace(ask, credit_amount=credited if credited > 0 else None)

    def _legs(self, plain: Ask, terms: Terms) -> tuple[tuple[str, int], ...]:
        """Return legs that mostly balance: what the others leave open comes to the account of the first credit."""
        boxes = self.reference.boxes
        fit = [path for path in boxes if terms.off == 1 or boxes[path].currency == boxes[plain.debit].currency]
        paths = [path for path in fit if path != plain.credit]
        legs = [(plain.debit, plain.amount)]
        legs += [(pick(paths, place), amount) for place, amount in terms.more]
        if terms.fee:
            legs = [
                (plain.credit, -amount) if place % 2 else (path, amount) for place, (path, amount) in enumerate(legs)
            ]
        rest = sum(amount for _, amount in legs) + (terms.off == 2)
        return (*legs, (plain.credit, -rest)) if rest else tuple(legs)
