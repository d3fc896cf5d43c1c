"""What Hypothesis draws for the ledger and its reference: transfers, some of which were asked before."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.ledger.model.asks import Ask
from tests.ledger.model.batches import Reference
from tests.ledger.model.boxes import Box
from tests.ledger.product import Product

EFFORT = float(os.environ.get("STORM_S", "10")) / 10
PLACES = st.integers(0, 7)
# Few have no other account, or one that nobody has opened.
OTHERS = st.sampled_from([*range(20), "itself", "nobody"])
# Round amounts and limits, so that balances often end exactly at a limit.
AMOUNTS = st.sampled_from([1, 50, 100, 100, 150, 250, 400])
KEYS = st.sampled_from([f"key-{number}" for number in range(60)])
MAYBE_KEYS = st.none() | KEYS
# How many asks ago the same was asked, if it was.
AGO = st.sampled_from([*[None] * 5, 1, 3, 6, 9])
GROUPS = [None, None, "a", "a", "b"]
Drawn = tuple[int, int | str, int, str | None, int | None, int, str | None]

S = TypeVar("S")
T = TypeVar("T", Product, Reference)


def drawn(*, hours: Sequence[int] = (0,), groups: Sequence[str | None] = (None,)) -> Any:
    """Return what draws one transfer, of which `Asked` makes an ask."""
    return st.tuples(
        PLACES, OTHERS, AMOUNTS, MAYBE_KEYS, AGO, st.sampled_from(list(hours)), st.sampled_from(list(groups))
    )


NOW = drawn()
LATER = drawn(hours=[*[0] * 10, 1, 1, 1, 2, -1, 9000])
GROUPED = drawn(groups=GROUPS)
# A batch may not ask for anything later.
ITEM = drawn(groups=GROUPS, hours=[*[0] * 15, 1])


def examples(count: int) -> settings:
    """Return settings for `count` examples, and more in a longer storm.

    A failure is shown as it was found: to make it smaller could take minutes.
    """
    return settings(
        max_examples=max(1, round(count * EFFORT)),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
    )


def limited(ledger: T) -> T:
    """Open three accounts that soon refuse something."""
    for number, (floor, ceiling) in enumerate([(0, None), (0, 500), (-150, None)]):
        ledger.open(f"box:{number}", Box("liability", "USD", floor, ceiling))
    return ledger


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

    def __init__(self) -> None:
        self.all: list[Ask] = []

    def make(self, paths: Iterable[str], found: Iterable[Drawn]) -> list[Ask]:
        return [self._make(list(paths), one) for one in found]

    def again(self, asks: list[Ask]) -> list[Ask]:
        """Return the same once more, under labels of their own."""
        relabelled = [replace(ask, label=f"ask-{len(self.all) + place}") for place, ask in enumerate(asks)]
        self.all += relabelled
        return relabelled

    def _make(self, paths: list[str], found: Drawn) -> Ask:
        place, other, amount, key, ago, hours, group = found
        debit = paths.pop(place % len(paths))
        credit = pick(paths, other) if isinstance(other, int) else {"itself": debit}.get(other, other)
        ask = Ask("", debit, credit, amount, key, hours=hours)
        if ago is not None and self.all:
            ask = self.all[-min(ago, len(self.all))]
        return self.again([replace(ask, group=group)])[0]
