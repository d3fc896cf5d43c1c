"""A batch does what its items would do one after the other, however it is cut into turns."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from config.runtime.clock import now
from ledger.domain.batches import BatchMode
from ledger.models import Batch
from ledger.queries.batches import get_batch, item_results, items_of
from ledger.services.batches import turns
from ledger.services.batches.submit import submit_batch
from ledger.services.batches.turns import post_due_batch
from ledger.services.idempotency import Claim
from tests.ledger.reference import Ask, Box, Reference, amount_text, offences
from tests.ledger.test_reference_ledger import ASKS, SETTINGS, ask, sums_of
from tests.people import Tenant

LIMITS = [("0.00", None), ("0.00", "5.00"), ("-1.50", None)]
GROUPS = st.lists(st.sampled_from([None, None, "a", "b", "c"]), min_size=48, max_size=48)


def boxes() -> tuple[Tenant, Reference]:
    tenant, reference = Tenant.new(), Reference({"cash:USD": Box("asset")})
    for number, (floor, ceiling) in enumerate(LIMITS):
        path = f"box:{number}"
        tenant.open(path, floor=floor, ceiling=ceiling)
        lowest, highest = (None if limit is None else round(100 * float(limit)) for limit in (floor, ceiling))
        reference.boxes[path] = Box("liability", "USD", lowest, highest)
    return tenant, reference


def post(tenant: Tenant, asks: list[Ask], mode: BatchMode, *, groups: Any = None, turn_size: int | None = None) -> Any:
    """Submit one batch, in turns if there is a size for them, and return outcomes and replays by item."""
    items = [
        tenant.submission(
            one.debit,
            one.credit,
            amount_text(one.amount, "USD"),
            idempotency_key=one.key,
            request_hash=repr(one.body).encode(),
            group=None if groups is None else groups[place],
        )
        for place, one in enumerate(asks)
    ]
    submitted = submit_batch(
        client_id=tenant.client.pk,
        mode=mode,
        items=items,
        claim=Claim(f"batch-{Batch.objects.filter(client=tenant.client).count()}", "transactions.batch", b"test"),
        actor="test",
        request_id="",
        now=now(),
        respond_async=turn_size is not None,
    )
    if turn_size is not None:
        with mock.patch.object(turns, "TURN_SIZE", turn_size):
            while post_due_batch():
                pass
    row = get_batch(tenant.client.pk, submitted.batch.id)
    assert row.status != "processing"
    return [outcome(result) for result in item_results(items_of(row).order_by("index"))]


def outcome(result: Any) -> tuple[str, bool]:
    if result.refusal is not None:
        return result.refusal.code, False
    failed = result.transaction.error
    return failed.code if failed else result.transaction.status, result.replayed


def once(asks: list[Ask]) -> list[Ask]:
    """A batch names a key once."""
    return list({one.key: one for one in asks}.values())


def others_wait() -> None:
    Batch.objects.filter(status="processing").update(next_attempt_at=now() + timedelta(days=365))


@settings(SETTINGS, max_examples=25)
@given(parts=st.lists(ASKS, min_size=1, max_size=4), turn_size=st.sampled_from([None, 1, 2, 5, 500]))
def test_a_batch_does_what_its_items_do_alone(db, parts: list[Any], turn_size: int | None) -> None:
    others_wait()
    tenant, reference = boxes()
    for part in parts:
        asks = once([ask(reference, one) for one in part])
        expected = [reference.submit(one) for one in asks]
        assert post(tenant, asks, BatchMode.PARTIAL, turn_size=turn_size) == expected
    assert sums_of(tenant) == reference.sums()
    assert offences(tenant.client.pk) == []


@settings(SETTINGS, max_examples=20)
@given(parts=st.lists(ASKS, min_size=1, max_size=4), groups=GROUPS, turn_size=st.integers(1, 12))
def test_groups_do_the_same_in_whatever_turns(db, parts: list[Any], groups: list[str | None], turn_size: int) -> None:
    others_wait()
    answers = []
    for size in (None, turn_size, 500):
        tenant, reference = boxes()
        asks = once([ask(reference, one) for part in parts for one in part])
        found = post(tenant, asks, BatchMode.PARTIAL, groups=groups, turn_size=size)
        answers.append((found, sums_of(tenant)))
        for label in "abc":
            of_group = [code for place, (code, _) in enumerate(found) if groups[place] == label]
            assert of_group.count("completed") in {0, len(of_group)}
        assert offences(tenant.client.pk) == []
    assert answers[0] == answers[1] == answers[2]


@settings(SETTINGS, max_examples=20)
@given(parts=st.lists(ASKS, min_size=1, max_size=5))
def test_an_atomic_batch_does_all_or_nothing(db, parts: list[Any]) -> None:
    tenant, reference = boxes()
    for part in parts:
        asks = once([ask(reference, one) for one in part])
        before = sums_of(tenant)
        found = [code for code, _ in post(tenant, asks, BatchMode.ATOMIC)]
        if set(found) == {"completed"}:
            assert [reference.submit(one)[0] for one in asks] == found
            assert sums_of(tenant) == reference.sums()
        else:
            assert "completed" not in found
            assert sums_of(tenant) == before
            assert set(found) != {"group_refused"}
    assert offences(tenant.client.pk) == []
