"""The ledger does what a ledger of a hundred lines of plain Python predicts, whatever it is asked."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from config.runtime.errors import DomainError
from ledger.domain.accounts import Frozen
from ledger.models import Balance
from ledger.services.account_changes import (
    change_limits,
    close_account,
    freeze_account,
    reopen_account,
    unfreeze_account,
)
from tests.ledger.reference import Ask, Box, Reference, amount_text, offences
from tests.people import Tenant

KINDS = st.sampled_from(["asset", "liability", "equity", "income", "expense"])
# Round amounts and limits, so that balances often end exactly at a limit.
AMOUNTS = st.sampled_from([1, 50, 100, 100, 150, 250, 400])
SIDES = st.sampled_from([Frozen.DEBITS, Frozen.CREDITS, Frozen.BOTH])
LIMITS = st.sampled_from([None, 0, -150, 150, 400])
ASKS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), AMOUNTS, st.integers(0, 60)), min_size=1, max_size=12)
# A failure is shown as it was found: to make it smaller could take minutes.
SETTINGS = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)


def ask(reference: Reference, drawn: tuple[int, int, int, int]) -> Ask:
    paths = list(reference.boxes)
    debit, credit, amount, key = drawn
    return Ask(paths[debit % len(paths)], paths[credit % len(paths)], amount, f"key-{key}")


def submit(tenant: Tenant, reference: Reference, asks: list[Ask]) -> list[tuple[str, bool]]:
    """Submit all in one round and return outcomes and replays, as the reference does one by one."""
    submissions = [
        tenant.submission(
            one.debit,
            one.credit,
            amount_text(one.amount, reference.boxes[one.debit].currency),
            currency=reference.boxes[one.debit].currency,
            idempotency_key=one.key,
            request_hash=repr(one.body).encode(),
        )
        for one in asks
    ]
    return [outcome(result) for result in tenant.submit(submissions)]


def outcome(result: Any) -> tuple[str, bool]:
    if isinstance(result, DomainError):
        return result.code, False
    failed = result.transaction.error
    return failed.code if failed else result.transaction.status, result.replayed


def limit_text(limit: int | None, currency: str) -> str | None:
    return None if limit is None else f"{'-' * (limit < 0)}{amount_text(abs(limit), currency)}"


def sums_of(tenant: Tenant) -> dict[str, tuple[int, int, int]]:
    rows = Balance.objects.filter(account__client=tenant.client).select_related("account")
    return {row.account.path: (row.posted_debits, row.posted_credits, row.version) for row in rows}


def changed(change: Callable[..., Any], **asked: Any) -> str:
    try:
        change(**asked)
    except DomainError as refusal:
        return refusal.code
    return "changed"


class Twins(RuleBasedStateMachine):
    """The ledger and the reference, asked the same."""

    @initialize()
    def begin(self) -> None:
        self.tenant, self.reference = Tenant.new(), Reference({"cash:USD": Box("asset")})
        self.ids: dict[str, UUID] = {}
        self.open("liability", "USD", 0, None)
        self.open("liability", "USD", 0, 500)

    @rule(
        kind=KINDS,
        currency=st.sampled_from(["USD", "USD", "USD", "JPY"]),
        floor=st.sampled_from([None, 0, -150]),
        ceiling=st.sampled_from([None, 0, 400]),
    )
    def open(self, kind: str, currency: str, floor: int | None, ceiling: int | None) -> None:
        path = f"box:{len(self.reference.boxes)}"
        limits = [limit_text(limit, currency) for limit in (floor, ceiling)]
        opened = self.tenant.open(path, kind=kind, currency=currency, floor=limits[0], ceiling=limits[1])
        self.reference.boxes[path] = Box(kind, currency, floor, ceiling)
        self.ids[path] = opened.id

    @rule(drawn=ASKS)
    def submit(self, drawn: list[tuple[int, int, int, int]]) -> None:
        asks = [ask(self.reference, one) for one in drawn]
        assert submit(self.tenant, self.reference, asks) == [self.reference.submit(one) for one in asks]

    @rule(which=st.integers(0, 7), sides=SIDES, thaws=st.booleans())
    def freeze(self, which: int, sides: Frozen, thaws: bool) -> None:
        box, asked = self.box(which)
        meant = {"debits", "credits"} if sides is Frozen.BOTH else {sides.value}
        expected = box.unfreeze(meant) if thaws else box.freeze(meant)
        assert changed(unfreeze_account if thaws else freeze_account, sides=sides, **asked) == expected

    @rule(which=st.integers(0, 7), reopens=st.booleans())
    def close(self, which: int, reopens: bool) -> None:
        box, asked = self.box(which)
        expected = box.reopen() if reopens else box.close()
        assert changed(reopen_account if reopens else close_account, **asked) == expected

    @rule(which=st.integers(0, 7), floor=LIMITS, ceiling=LIMITS)
    def limit(self, which: int, floor: int | None, ceiling: int | None) -> None:
        box, asked = self.box(which)
        limits = {"floor": limit_text(floor, box.currency), "ceiling": limit_text(ceiling, box.currency)}
        assert changed(change_limits, **limits, **asked) == box.limit(floor, ceiling)

    def box(self, which: int) -> tuple[Box, dict[str, Any]]:
        path = list(self.ids)[which % len(self.ids)]
        asked = {"client_id": self.tenant.client.pk, "account_id": self.ids[path], "actor": "test", "reason": "a test"}
        return self.reference.boxes[path], asked

    @invariant()
    def balances_agree(self) -> None:
        if hasattr(self, "tenant"):
            assert sums_of(self.tenant) == self.reference.sums()

    def teardown(self) -> None:
        if hasattr(self, "tenant"):
            assert offences(self.tenant.client.pk) == []


def test_whatever_is_asked_the_ledger_answers_as_the_reference_does(db) -> None:
    run_state_machine_as_test(Twins, settings=settings(SETTINGS, max_examples=25, stateful_step_count=15))


@settings(SETTINGS, max_examples=20)
@given(drawn=st.lists(ASKS, min_size=1, max_size=4), cuts=st.sets(st.integers(1, 47)))
def test_where_a_list_is_cut_into_rounds_does_not_matter(db, drawn: list[Any], cuts: set[int]) -> None:
    answers = []
    for places in ([], sorted(cuts), range(1, 48)):
        tenant, reference = Tenant.new(), Reference({"cash:USD": Box("asset")})
        for number, (floor, ceiling) in enumerate([("0.00", None), ("0.00", "5.00"), ("-1.50", None)]):
            path = f"box:{number}"
            tenant.open(path, floor=floor, ceiling=ceiling)
            reference.boxes[path] = Box("liability")
        asks = [ask(reference, one) for part in drawn for one in part]
        edges = [0, *(place for place in places if place < len(asks)), len(asks)]
        outcomes = [one for low, high in pairwise(edges) for one in submit(tenant, reference, asks[low:high])]
        answers.append((outcomes, sums_of(tenant)))
    assert answers[0] == answers[1] == answers[2]
