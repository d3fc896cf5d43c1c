"""Whatever is asked of it, in whatever order, the ledger answers as a few pages of plain Python predict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

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
from tests.ledger.drawn import (
    AGO,
    ITEM,
    KEYS,
    LATER,
    NOW,
    PLACES,
    Asked,
    Drawn,
    examples,
    limited,
    once,
    pick,
)
from tests.ledger.model.asks import Ask
from tests.ledger.model.batches import Reference
from tests.ledger.model.boxes import Box
from tests.ledger.model.transfers import NEVER
from tests.ledger.product import Product
from tests.ledger.reference import offences

PATHS_MAX = 5
KINDS = st.sampled_from(["asset", "liability", "equity", "income", "expense"])
SIDES = st.sampled_from(["none", "none", "none", "debits", "credits", "both"])
MODES = st.sampled_from(["partial", "partial", "atomic"])
SIZES = st.sampled_from([1, 2, 3, 500])
FEW_KEYS = st.sampled_from([None, "key-1", "key-2"])


def some(one: Any, size_max: int = 12, size_min: int = 1) -> Any:
    return st.lists(one, min_size=size_min, max_size=size_max)


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
        self.asked = Asked()
        self.requests: list[tuple[str, list[Ask], str]] = []
        self.open("liability", "USD", 0, None)
        self.open("liability", "USD", 0, 500)
        self.both(lambda ledger: ledger.post([Ask("money", "cash:USD", "box:1", 400)]))
        self.transfer(found, "one commit")
        self.batch(items, "partial", "first", "in turns", None)
        self.batch(more, "partial", "second", "in turns", None)
        self.post_due(2, 2, which)

    def both(self, ask: Callable[[Product | Reference], Any]) -> None:
        self.agree = False
        expected = ask(self.reference)
        assert ask(self.product) == expected
        self.agree = True

    def asks(self, found: Iterable[Drawn]) -> list[Ask]:
        return self.asked.make(self.reference.boxes, found)

    @precondition(lambda self: len(self.reference.boxes) < PATHS_MAX)
    @rule(
        kind=KINDS,
        currency=st.sampled_from(["USD", "USD", "USD", "JPY"]),
        floor=st.sampled_from([None, 0, -150]),
        ceiling=st.sampled_from([None, 0, 400]),
    )
    def open(self, kind: str, currency: str, floor: int | None, ceiling: int | None) -> None:
        path = f"box:{len(self.reference.boxes)}"
        self.both(lambda ledger: ledger.open(path, Box(kind, currency, floor, ceiling)))

    @rule(which=PLACES, sides=SIDES)
    def freeze(self, which: int, sides: str) -> None:
        path = pick(list(self.reference.boxes), which)
        self.both(lambda ledger: ledger.freeze(path, sides))

    @rule(found=some(LATER), how=st.sampled_from(["wait", "accept", "try", "one round", "one commit"]))
    def transfer(self, found: list[Drawn], how: str) -> None:
        asks = self.asks(found if how.startswith("one") else found[:1])
        if how == "one round":
            self.both(lambda ledger: ledger.post(asks))
        elif how == "one commit":
            self.both(lambda ledger: ledger.accept(asks))
        elif how == "try":
            self.both(lambda ledger: ledger.try_one(asks[0]))
        else:
            self.both(lambda ledger: ledger.submit(asks[0], wait=how == "wait"))

    @rule(
        found=some(ITEM, 8),
        mode=MODES,
        key=KEYS,
        how=st.sampled_from(["at once", "in turns", "in turns", "try"]),
        ago=AGO,
    )
    def batch(self, found: list[Drawn], mode: str, key: str, how: str, ago: int | None) -> None:
        asks = once(self.asks(found))
        if mode == "atomic":
            asks = [replace(ask, group=None) for ask in asks[:3]]
        if ago is not None and self.requests:
            mode, asks, key = self.requests[-min(ago, len(self.requests))]
            asks = self.asked.again(asks)
        if how == "try":
            self.both(lambda ledger: ledger.try_batch(mode, asks, key))
            return
        label = f"batch-{len(self.requests)}"
        self.requests.append((mode, asks, key))
        self.both(lambda ledger: ledger.batch(label, mode, asks, key, in_turns=how == "in turns"))

    @precondition(lambda self: self.waiting())
    @rule(size=SIZES, hours=st.sampled_from([0, 0, 1, 3]), which=st.none() | PLACES)
    def post_due(self, size: int, hours: int, which: int | None) -> None:
        """Let the posters work, and once an hour again; somebody may hold the lock of an account that they need."""
        needed = sorted({path for ask in self.waiting() for path in ask.accounts})
        path = None if which is None else pick(needed, which)
        self.both(lambda ledger: (ledger.post_due(size, path), ledger.post_due_batch(size, path)))
        for _ in range(hours):
            self.both(lambda ledger: ledger.hour_passes())
            self.both(lambda ledger: (ledger.post_due(size, path), ledger.post_due_batch(size, path)))

    @precondition(lambda self: self.reference.transfers)
    @rule(which=st.integers(0, 20), of_batch=st.booleans(), likely=st.sampled_from([True, True, False]), key=FEW_KEYS)
    def retry(self, which: int, of_batch: bool, likely: bool, key: str | None) -> None:
        transfers, batches = list(self.reference.transfers.items()), list(self.reference.batches)
        if of_batch and batches:
            failed = [label for label in batches if any(one.retryable for one in self.reference.items(label))]
            batch = pick((likely and failed) or batches, which)
            self.both(lambda ledger: ledger.retry_batch(batch, key))
        else:
            failed = [label for label, one in transfers if one.error == "contention"]
            label = pick((likely and failed) or [label for label, _ in transfers], which)
            self.both(lambda ledger: ledger.retry(label, key))

    @invariant()
    def books_agree(self) -> None:
        if self.agree:
            self.both(lambda ledger: ledger.books())

    def waiting(self) -> list[Ask]:
        queued = [one.ask for one in self.reference.transfers.values() if one.due != NEVER]
        return queued + [item.ask for batch in self.reference.batches.values() for item in batch.waiting]

    def teardown(self) -> None:
        if not self.agree:
            return
        while self.waiting():
            self.both(lambda ledger: ledger.hour_passes())
            self.both(lambda ledger: (ledger.post_due(500), ledger.post_due_batch(500)))
            self.books_agree()
        self.both(lambda ledger: [ledger.items(label) for label in self.reference.batches])
        assert offences(self.product.client_id) == []


def test_whatever_is_asked_the_ledger_answers_as_the_reference_does(db) -> None:
    run_state_machine_as_test(Twins, settings=settings(examples(12), stateful_step_count=30))
    offenders = {name for finding in verify().findings for name in finding.clients}
    assert Twins.clients.isdisjoint(offenders)


@examples(8)
@given(found=some(NOW, 48), cuts=st.sets(st.integers(1, 47)))
def test_where_a_list_is_cut_into_rounds_does_not_matter(db, found: list[Drawn], cuts: set[int]) -> None:
    reference = limited(Reference())
    asks = Asked().make(reference.boxes, found)
    expected = reference.post(asks)
    for places in ([], sorted(cuts), range(1, 48)):
        product = limited(Product())
        edges = [0, *(place for place in places if place < len(asks)), len(asks)]
        assert [one for low, high in pairwise(edges) for one in product.post(asks[low:high])] == expected
        assert product.books() == reference.books()
