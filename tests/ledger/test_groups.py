"""Groups: items of one round that are booked together or not at all, whatever comes between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from config.localstack.processes import wait_until
from config.runtime.errors import DomainError
from ledger.events.models import OutboxEvent
from ledger.models import Account, Entry, Transaction
from ledger.posting import engine
from ledger.posting.engine import post
from ledger.posting.intents import Intent, Outcome
from ledger.queries.invariants import verify
from tests.ledger.locks import in_thread, locked, waiting_for_locks
from tests.ledger.queueing import intent
from tests.ledger.test_refused_rounds import database_refuses
from tests.people import Tenant

Ask = Callable[..., Intent]


@pytest.fixture
def people(bank: Tenant) -> Tenant:
    """alice, bob and carol, who hold 10.00 each."""
    for name in ("alice", "bob", "carol"):
        bank.person(name, holding="10.00")
    return bank


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no round be repeated: what was judged wrong would be put right one by one."""
    monkeypatch.delattr(engine, "_one_by_one")


@pytest.fixture
def ask(people: Tenant) -> Ask:
    """Return what makes an intent from alice to bob of a group, or from another, with a key if one is named."""

    def make(
        amount: str, group: str | None = None, *, by: str = "alice", to: str = "bob", key: str | None = None
    ) -> Intent:
        minor = int(amount.replace(".", ""))
        named = {"group": group, "idempotency_key": key, "request_hash": key and amount.encode()}
        return intent(people, f"users:{by}:USD", f"users:{to}:USD", amount_minor=minor, **named)

    return make


def told(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what each was told: a status, a refusal's code, or that it is a replay."""
    return [
        outcome.transaction.status if outcome.transaction else outcome.refusal.code if outcome.refusal else "replayed"
        for outcome in outcomes
    ]


def holdings(people: Tenant) -> list[int]:
    return [people.posted(people.account(f"users:{name}:USD")) for name in ("alice", "bob", "carol")]


def stored(people: Tenant) -> int:
    """Return how many transfers there are, failed ones too."""
    return Transaction.objects.filter(client=people.client, type="transfer").count()


def test_a_group_is_booked_whole(people: Tenant, ask: Ask) -> None:
    outcomes = post([ask("4.00", "a"), ask("6.00", "a"), ask("20.00", "a", by="bob", to="carol")])

    assert told(outcomes) == ["completed"] * 3
    assert holdings(people) == [0, 0, 3000]
    assert verify(client_id=people.client.pk).holds


def test_a_group_in_which_one_cannot_be_booked_leaves_nothing(people: Tenant, ask: Ask) -> None:
    events = OutboxEvent.objects.filter(client_id=people.client.pk).count()

    outcomes = post([ask("4.00", "a"), ask("6.01", "a"), ask("5.00", "a", by="carol")])

    assert told(outcomes) == ["group_refused", "insufficient_funds", "group_refused"]
    assert holdings(people) == [1000, 1000, 1000]
    assert stored(people) == 0
    assert OutboxEvent.objects.filter(client_id=people.client.pk).count() == events
    assert verify(client_id=people.client.pk).holds


def test_of_a_refused_group_each_that_cannot_be_booked_is_named(people: Tenant, ask: Ask) -> None:
    Account.objects.filter(client=people.client, path="users:carol:USD").update(frozen="both")
    outcomes = post([ask("11.00", "a"), ask("1.00", "a"), ask("1.00", "a", by="carol"), ask("10.00", "a")])
    # The last would find too little after the second; what fails takes nothing from those after it.
    assert told(outcomes) == ["insufficient_funds", "group_refused", "account_frozen", "insufficient_funds"]


def test_others_of_the_round_find_the_balances_as_if_a_refused_group_had_never_been(
    people: Tenant, ask: Ask, once: None
) -> None:
    outcomes = post(
        [ask("8.00", "a"), ask("3.00", "a"), ask("7.00"), ask("3.01"), ask("17.00", by="bob", to="carol"), ask("3.00")]
    )

    assert told(outcomes) == [
        "group_refused",
        "insufficient_funds",
        "completed",
        "failed",
        "completed",
        "completed",
    ]
    assert holdings(people) == [0, 300, 2700]
    versions = Entry.objects.filter(account__client=people.client, account__path="users:alice:USD")
    assert list(versions.order_by("account_version").values_list("account_version", flat=True)) == [1, 2, 3]
    assert verify(client_id=people.client.pk).holds


def test_interleaved_groups_are_judged_one_after_the_other(people: Tenant, ask: Ask, once: None) -> None:
    """A group stands where its first item stands: what b books does not come between the items of a."""
    outcomes = post([ask("6.00", "a"), ask("9.00", "b"), ask("5.00", "a"), ask("1.00", "b"), ask("0.01", "c")])
    assert told(outcomes) == ["group_refused", "completed", "insufficient_funds", "completed", "insufficient_funds"]
    assert holdings(people)[:2] == [0, 2000]
    assert verify(client_id=people.client.pk).holds


def test_outcomes_stand_in_the_order_of_the_items_whatever_their_groups(people: Tenant, ask: Ask) -> None:
    intents = [ask(f"0.0{number}", group) for number, group in enumerate(["a", "b", None, "a", "c", "b", None], 1)]
    outcomes = post(intents)
    assert [outcome.transaction and outcome.transaction.id for outcome in outcomes] == [one.id for one in intents]


def test_the_keys_of_a_refused_group_stay_unused(people: Tenant, ask: Ask) -> None:
    first = post([ask("4.00", "a", key="one"), ask("99.00", "a", key="two"), ask("1.00", key="one")])
    assert told(first) == ["group_refused", "insufficient_funds", "completed"]

    again = post([ask("99.00", key="two"), ask("1.00", key="one")])

    assert told(again) == ["failed", "replayed"]


def test_a_replay_is_no_objection_to_its_group_and_is_not_booked_again(people: Tenant, ask: Ask) -> None:
    earlier = post([ask("4.00", key="one")])[0].transaction
    assert earlier is not None

    outcomes = post([ask("4.00", "a", key="one"), ask("6.00", "a", key="two"), ask("6.00", "a", key="two")])

    assert told(outcomes) == ["replayed", "completed", "replayed"]
    second = outcomes[1].transaction
    assert second is not None
    assert [outcome.replay_of for outcome in outcomes] == [earlier.id, None, second.id]
    assert holdings(people)[0] == 0


def test_a_key_of_another_request_refuses_the_group(people: Tenant, ask: Ask) -> None:
    post([ask("4.00", key="one")])
    assert told(post([ask("1.00", "a"), ask("5.00", "a", key="one")])) == ["group_refused", "idempotency_key_reused"]
    assert holdings(people)[0] == 600


def test_in_a_refused_group_nothing_replays_what_was_not_booked(people: Tenant, ask: Ask) -> None:
    earlier = post([ask("4.00", key="one")])
    group = [ask("4.00", "a", key="one"), *(ask("1.00", "a", key="two") for _ in range(2)), ask("99.00", "a")]

    outcomes = post(group)

    assert told(outcomes) == ["replayed", "group_refused", "group_refused", "insufficient_funds"]
    assert outcomes[0].replay_of == (earlier[0].transaction and earlier[0].transaction.id)
    assert stored(people) == 1


def test_a_service_answers_for_each_item_of_a_group(people: Tenant) -> None:
    def asked(amount: str, group: str, key: str) -> Any:
        return people.submission("users:alice:USD", "users:bob:USD", amount, group=group, idempotency_key=key)

    refused = [asked("1.00", "a", "one"), asked("1.00", "a", "one"), asked("99.00", "a", "two")]

    results = people.submit([*refused, asked("2.00", "b", "three")])

    assert [one.code if isinstance(one, DomainError) else one.transaction.status for one in results] == [
        "group_refused",
        "group_refused",
        "insufficient_funds",
        "completed",
    ]
    assert stored(people) == 1


def test_a_group_that_the_database_refuses_is_refused_whole_and_alone(people: Tenant, ask: Ask) -> None:
    intents = [ask("1.00", "a"), ask("2.00"), ask("3.13", "a"), ask("1.00", "b"), ask("1.00", "b")]

    with database_refuses(people.account("users:bob:USD"), 313):
        outcomes = post(intents)

    assert told(outcomes) == ["posting_refused", "completed", "posting_refused", "completed", "completed"]
    assert stored(people) == 3
    assert holdings(people)[0] == 600
    assert verify(client_id=people.client.pk).holds


def test_a_group_of_which_one_account_is_locked_waits_whole(
    people: Tenant, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SET_LOCK_TIMEOUT", "SELECT set_config('lock_timeout', '100ms', true)")
    intents = [ask("1.00", "a"), ask("1.00", "a", by="carol"), ask("2.00"), ask("1.00", "b"), ask("1.00", "b")]

    with locked(people.account("users:carol:USD")):
        outcomes = post(intents)

    assert told(outcomes) == ["posting_contended", "posting_contended", "completed", "completed", "completed"]
    assert stored(people) == 3
    assert told(post(intents[:2])) == ["completed", "completed"]


def test_a_group_that_takes_too_long_is_cancelled_whole(people: Tenant, ask: Ask, settings: Any) -> None:
    settings.TRANSACTION_TIMEOUT = 0.4
    intents = [ask("1.00", "a"), ask("1.00", "a", by="carol"), ask("2.00")]

    with locked(people.account("users:carol:USD")) as holder, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(in_thread, lambda: post(intents))
        assert wait_until(lambda: waiting_for_locks() == 1, timeout_s=4)
        outcomes = asked.result()
        holder.execute("COMMIT")

    assert told(outcomes) == ["posting_timeout", "posting_timeout", "completed"]
    assert stored(people) == 1


def test_an_only_group_that_is_refused_by_the_database_says_so_of_each(people: Tenant, ask: Ask) -> None:
    with database_refuses(people.account("users:bob:USD"), 313):
        outcomes = post([ask("1.00", "a"), ask("3.13", "a")])
    assert told(outcomes) == ["posting_refused", "posting_refused"]
    assert stored(people) == 0
