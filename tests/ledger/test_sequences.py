"""Whatever is asked of it, in whatever order, the ledger answers as a few pages of plain Python predict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ledger.queries.invariants import verify
from tests.ledger.audit import offences
from tests.ledger.drawn import (
    AGO,
    EFFORT,
    FEW_KEYS,
    HELD,
    ITEM,
    KEYS,
    LATER,
    MAYBE_KEYS,
    NOW,
    PLACES,
    Asked,
    Drawn,
    examples,
    limited,
    once,
    opened,
    pick,
    some,
)
from tests.ledger.model.asks import Answer, Ask
from tests.ledger.model.books import NEVER, Transaction
from tests.ledger.model.boxes import Box
from tests.ledger.model.reference import Reference
from tests.ledger.product.product import Product

PATHS_MAX = 10
KINDS = st.sampled_from(["asset", "liability", "liability", "equity", "income", "expense"])
SIDES = st.sampled_from(["debits", "credits", "both"])
LIMITS = st.dictionaries(st.sampled_from(["floor", "ceiling"]), st.sampled_from([None, 0, -150, 150, 400]))
CHANGES = st.sampled_from(["freeze", "unfreeze", "unfreeze", "close", "close", "reopen", "reopen", "limit", "limit"])
FREEZES = st.sampled_from([None, None, None, "debits", "credits"])
MODES = st.sampled_from(["partial", "partial", "atomic"])
SIZES = st.sampled_from([1, 2, 3, 500])
LIKELY = st.sampled_from([True, True, True, False])
PARTS = st.sampled_from([None, 1, 50, 50, 100, 150, 400])
FEW = st.sampled_from([False, False, True])
HOURS = st.sampled_from([*[1] * 10, *[2] * 4, 168])
MARKS = st.none() | st.integers(0, 60)


BEGUN = [
    Ask("money", "cash:USD", "box:4", 1000),
    Ask("more money", "cash:USD", "box:5", 400),
    Ask("held", "box:4", "box:5", 100, is_held=True),
    Ask("held with a fee", "box:4", "box:6", 100, fee=50, is_held=True),
]


class Twins(RuleBasedStateMachine):
    """The ledger and the reference, asked the same."""

    clients: ClassVar[set[str]] = set()
    # Before the beginning, and once they have disagreed, there is nothing to compare.
    agree = False

    @initialize(found=some(LATER, 8, 4), items=some(ITEM, 8, 4), more=some(ITEM, 8, 4), which=PLACES)
    def begin(self, found: list[Drawn], items: list[Drawn], more: list[Drawn], which: int) -> None:
        """Let something be booked, something have failed, and something still wait."""
        self.product, self.reference = Product(), Reference()
        self.clients.add(self.product.tenant.client.name)
        self.asked = Asked(self.reference)
        self.requests: list[tuple[str, list[Ask], str]] = []
        self.keyed: list[Callable[[Product | Reference], Any]] = []
        self.batches = 0
        self.both(opened)
        self.open("liability", "USD", 0, None)
        self.open("liability", "USD", 0, 500)
        self.open("asset", "USD", -150, 400)
        self.open("asset", "JPY", -150, 400)
        self.both(lambda ledger: ledger.post(BEGUN))
        self.transfer(found, "one commit")
        self.batch(items, "partial", "first", "at once", None)
        self.batch(more, "partial", "second", "in turns", None)
        self.post_due(2, 2, which)

    def both(self, ask: Callable[[Product | Reference], Any]) -> Any:
        self.agree = False
        expected = ask(self.reference)
        assert ask(self.product) == expected
        self.agree = True
        return expected

    def asked_by(self, key: str | None, ask: Callable[[Product | Reference], Any]) -> None:
        """Ask, and keep in mind what may be asked again with its key."""
        if key is not None:
            self.keyed.append(ask)
        self.both(ask)

    @precondition(lambda self: len(self.reference.boxes) < PATHS_MAX)
    @rule(
        kind=KINDS,
        currency=st.sampled_from(["USD", "USD", "JPY"]),
        floor=st.sampled_from([None, 0, -150]),
        ceiling=st.sampled_from([None, 0, 400]),
    )
    def open(self, kind: str, currency: str, floor: int | None, ceiling: int | None) -> None:
        path = f"box:{len(self.reference.boxes)}"
        self.both(lambda ledger: ledger.open(path, Box(kind, currency, floor, ceiling)))

    @rule(which=PLACES, how=CHANGES, sides=SIDES, limits=LIMITS, key=FEW_KEYS)
    def change(self, which: int, how: str, sides: str, limits: dict[str, int | None], key: str | None) -> None:
        """Change an account, mostly one where that makes a difference."""
        boxes = self.reference.boxes
        likely = [path for path, box in boxes.items() if _is_likely(box, how)]
        path = pick((which % 3 and likely) or list(boxes), which)
        asked: dict[str, list[Any]] = {"freeze": [sides], "unfreeze": [sides], "limit": [limits]}
        self.asked_by(key, lambda ledger: getattr(ledger, how)(path, *asked.get(how, []), key))

    @rule(found=some(LATER), how=st.sampled_from(["wait", "accept", "try", "one round", "one commit"]))
    def transfer(self, found: list[Drawn], how: str) -> None:
        asks = self.asked.make(found if how.startswith("one") else found[:1])
        if how == "one round":
            self.both(lambda ledger: ledger.post(asks))
        elif how == "one commit":
            self.both(lambda ledger: ledger.accept(asks))
        elif how == "try":
            self.both(lambda ledger: ledger.try_one(asks[0]))
        else:
            self.both(lambda ledger: ledger.submit(asks[0], wait=how == "wait"))

    @rule(which=PLACES, likely=LIKELY, new=HELD, parts=some(PARTS, 3), is_final=FEW, sides=FREEZES, key=KEYS)
    def capture(
        self,
        *,
        which: int,
        likely: bool,
        new: Drawn,
        parts: list[int | None],
        is_final: bool,
        sides: str | None,
        key: str,
    ) -> None:
        """Capture once or a few times; one of the accounts may be frozen just before."""
        label = self.held(which, likely, new)
        if sides is not None:
            path = pick(sorted(self.reference.transactions[label].agreed.paths), which)
            self.both(lambda ledger: ledger.freeze(path, sides))
        for place, part in enumerate(parts):
            named = f"{key}{'+' * place}"
            self.asked_by(key, partial(_capture, label=label, amount=part, is_final=is_final, key=named))
            self.books_agree()

    @rule(which=PLACES, likely=LIKELY, new=HELD, part=st.sampled_from([None, None, 1, 50]), key=KEYS)
    def void(self, which: int, likely: bool, new: Drawn, part: int | None, key: str) -> None:
        """Let go what is held, or what a capture just before leaves of it."""
        label = self.held(which, likely, new)
        if part is not None:
            self.both(lambda ledger: ledger.capture(label, part, is_final=False, key=f"{key}+"))
            self.books_agree()
        self.asked_by(key, lambda ledger: ledger.void(label, key))

    @rule(which=PLACES, likely=LIKELY, parts=some(PARTS, 3), key=MAYBE_KEYS)
    def reverse(self, which: int, likely: bool, parts: list[int | None], key: str | None) -> None:
        """Take something back, mostly of what was booked and was not taken back yet."""
        of_holds = bool(which % 2)
        label = self.transaction(which, likely, lambda one: _is_left(one) and (one.ends is not None or not of_holds))
        for place, part in enumerate(parts):
            named = key and f"{key}{'+' * place}"
            ask = self.asked.again([Ask("", takes_back=label, amount=part or 0, key=named)])[0]
            self.asked_by(key, partial(_reverse, ask=ask))
            self.books_agree()

    @precondition(lambda self: self.keyed)
    @rule(which=PLACES)
    def ask_again(self, which: int) -> None:
        """Repeat a request that had a key, which may have been refused then."""
        self.both(pick(self.keyed[::-1], which))

    @rule(hours=HOURS, which=PLACES, then=st.sampled_from(["expire", "expire", "capture", "void", "nothing"]), key=KEYS)
    def hours_pass(self, hours: int, which: int, then: str, key: str) -> None:
        """Let holds come to an end, which somebody sees to, or which somebody who comes too late does not see."""
        self.both(lambda ledger: ledger.hours_pass(hours))
        label = self.transaction(which, True, lambda one: one.held > 0 and not self.is_held(one))
        if then == "expire":
            self.both(lambda ledger: ledger.expire())
        elif then == "capture":
            self.both(lambda ledger: ledger.capture(label, None, is_final=False, key=key))
        elif then == "void":
            self.both(lambda ledger: ledger.void(label, key))

    @rule(
        found=some(ITEM, 8),
        mode=MODES,
        key=KEYS,
        how=st.sampled_from(["at once", "at once", "in turns", "in turns", "try"]),
        ago=AGO,
    )
    def batch(self, found: list[Drawn], mode: str, key: str, how: str, ago: int | None) -> None:
        asks = once(self.asked.make(found))
        if mode == "atomic":
            asks = [replace(ask, group=None) for ask in asks[:3]]
        if ago is not None and self.requests:
            mode, asks, key = self.requests[-min(ago, len(self.requests))]
            asks = self.asked.again(asks)
        if how == "try":
            self.both(lambda ledger: ledger.try_batch(mode, asks, key))
            return
        label = self.label()
        self.requests.append((mode, asks, key))
        self.both(lambda ledger: ledger.batch(label, mode, asks, key, in_turns=how == "in turns"))

    @precondition(lambda self: self.reference.batches)
    @rule(which=PLACES, likely=LIKELY, key=KEYS)
    def reverse_batch(self, which: int, likely: bool, key: str) -> None:
        batches = list(self.reference.batches)
        ended = [of for of in batches if not self.reference.batches[of].waiting]
        booked = [of for of in ended if any(one.code == "completed" for one in self.reference.items(of))]
        label, of = self.label(), pick((likely and booked) or batches, which)
        self.asked_by(key, lambda ledger: ledger.reverse_batch(label, of, key))

    @precondition(lambda self: self.waiting())
    @rule(size=SIZES, hours=st.sampled_from([0, 0, 1, 3]), which=st.none() | PLACES)
    def post_due(self, size: int, hours: int, which: int | None) -> None:
        """Let the posters work, and once an hour again; somebody may hold the lock of an account that they need."""
        needed = sorted(set().union(*(self.reference.needed(ask) for ask in self.waiting())))
        path = None if which is None or not needed else pick(needed, which)
        self.both(lambda ledger: (ledger.post_due(size, path), ledger.post_due_batch(size, path)))
        for _ in range(hours):
            self.both(lambda ledger: ledger.hours_pass(1))
            self.both(lambda ledger: (ledger.post_due(size, path), ledger.post_due_batch(size, path)))

    @rule(which=PLACES, of_batch=st.booleans(), likely=LIKELY, key=FEW_KEYS)
    def retry(self, which: int, of_batch: bool, likely: bool, key: str | None) -> None:
        batches = list(self.reference.batches)
        if of_batch and batches:
            failed = [label for label in batches if any(one.retryable for one in self.reference.items(label))]
            batch = pick((likely and failed) or batches, which)
            self.asked_by(key, lambda ledger: ledger.retry_batch(batch, key))
        else:
            label = self.transaction(which, likely, lambda one: one.error == "contention")
            self.asked_by(key, lambda ledger: ledger.retry(label, key))

    @rule(which=PLACES, since=MARKS, until=MARKS, hours=st.none() | st.sampled_from([-300, -31, -2, -1, 0, 1, 2, 200]))
    def look(self, which: int, since: int | None, until: int | None, hours: int | None) -> None:
        """Ask what is known of a moment, which nothing that comes after it changes."""
        path, marks = pick(list(self.reference.boxes), which), len(self.reference.marks)
        first, last = (None if mark is None else mark % marks for mark in (since, until))
        if first is not None and last is not None and which % 5:
            first, last = min(first, last), max(first, last)
        self.both(lambda ledger: ledger.statement(path, first, last))
        self.both(lambda ledger: ledger.balance(path, last, hours))
        self.both(lambda ledger: ledger.trial_balance(last))

    @invariant()
    def books_agree(self) -> None:
        if self.agree:
            self.both(lambda ledger: ledger.books())
            self.both(lambda ledger: ledger.mark())

    def held(self, which: int, likely: bool, new: Drawn) -> str:
        """Return something that is held, if that is likely: if nothing is, something is held anew."""
        if likely and not any(map(self.is_held, self.reference.transactions.values())):
            asks = self.asked.make([new])
            self.both(lambda ledger: ledger.post(asks))
        return self.transaction(which, likely, self.is_held)

    def is_held(self, one: Transaction) -> bool:
        return one.held > 0 and one.ends is not None and one.ends > self.reference.hour

    def label(self) -> str:
        self.batches += 1
        return f"batch-{self.batches}"

    def transaction(self, which: int, likely: bool, is_meant: Callable[[Transaction], bool]) -> str:
        """Return one of those that are meant, if that is likely and there are any."""
        found = self.reference.transactions
        return pick((likely and [label for label, one in found.items() if is_meant(one)]) or list(found), which)

    def waiting(self) -> list[Ask]:
        queued = [one.ask for one in self.reference.transactions.values() if one.due != NEVER]
        return queued + [item.ask for batch in self.reference.batches.values() for item in batch.waiting]

    def teardown(self) -> None:
        if not self.agree:
            return
        while self.waiting():
            self.both(lambda ledger: ledger.hours_pass(1))
            self.both(lambda ledger: (ledger.post_due(500), ledger.post_due_batch(500)))
            self.books_agree()
        self.both(lambda ledger: [ledger.items(label) for label in self.reference.batches])
        self.both(lambda ledger: (ledger.lines(), ledger.terms()))
        assert offences(self.product.client_id) == []


def _is_likely(box: Box, how: str) -> bool:
    """Tell whether such a change may do something to this account, or is refused for more than one reason."""
    is_in_use = bool(box.leaving or box.coming)
    likely = {"freeze": is_in_use, "unfreeze": bool(box.frozen), "reopen": box.is_closed, "close": not box.balance}
    return likely.get(how, is_in_use)


def _is_left(one: Transaction) -> bool:
    """Tell whether something of it can be taken back."""
    return one.booked > one.reversed and one.ask.takes_back is None


def _capture(ledger: Product | Reference, **asked: Any) -> Answer:
    return ledger.capture(**asked)


def _reverse(ledger: Product | Reference, *, ask: Ask) -> Answer:
    return ledger.reverse(ask)


@pytest.mark.timeout(300 * max(1, EFFORT))
def test_whatever_is_asked_the_ledger_answers_as_the_reference_does(db) -> None:
    run_state_machine_as_test(Twins, settings=settings(examples(10), stateful_step_count=40))
    offenders = {name for finding in verify().findings for name in finding.clients}
    assert Twins.clients.isdisjoint(offenders)


@examples(8)
@given(found=some(NOW, 48), cuts=st.sets(st.integers(1, 47)))
def test_where_a_list_is_cut_into_rounds_does_not_matter(db, found: list[Drawn], cuts: set[int]) -> None:
    reference = limited(Reference())
    asks = Asked(reference).make(found)
    expected = reference.post(asks)
    for places in ([], sorted(cuts), range(1, 48)):
        product = limited(Product())
        edges = [0, *(place for place in places if place < len(asks)), len(asks)]
        assert [one for low, high in pairwise(edges) for one in product.post(asks[low:high])] == expected
        assert product.books() == reference.books()


@examples(8)
@given(parts=st.lists(some(ITEM), min_size=1, max_size=4), size=st.integers(1, 12))
def test_in_whatever_turns_a_batch_is_posted_it_does_the_same(db, parts: list[list[Drawn]], size: int) -> None:
    reference = limited(Reference())
    asked = Asked(reference)
    batches = {f"batch-{number}": once(asked.make(part)) for number, part in enumerate(parts)}
    for label, asks in batches.items():
        reference.batch(label, "partial", asks, label)
    for turns in (None, size, 500):
        product = limited(Product())
        for label, asks in batches.items():
            product.batch(label, "partial", asks, label, in_turns=turns is not None)
            while turns is not None and product.post_due_batch(turns):
                pass
            assert product.items(label) == reference.items(label)
        assert product.books() == reference.books()
