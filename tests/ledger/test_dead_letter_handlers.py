"""A dead letter is handled again by what could not: the inbound topic's handler, the listener, the broker."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection

from config.env import InboundTopic
from ledger.events import consuming, relay
from ledger.events.errors import DeadLetterResolved
from ledger.events.models import DeadLetter
from ledger.events.publishing import TransportFollower
from ledger.events.transports.base import Message
from ledger.models import Transaction
from ledger.queries.invariants import verify
from ledger.services.dead_letters import Handled, replay_dead_letter
from tests.ledger.consumed import Shelf, asked, consumer_of, message
from tests.ledger.followed import DUE, Diary, Postbox, begun, caught_up, execute, record
from tests.ledger.locks import in_thread
from tests.ledger.test_dead_letter_replay import is_free, meanwhile
from tests.people import Tenant

DIARIES: dict[str, Diary] = {}


def replay(row: DeadLetter) -> Handled:
    return replay_dead_letter(letter_id=row.pk, actor="staff:root", request_id="")


@pytest.fixture
def refused(people: Tenant, settings: Any) -> DeadLetter:
    """The letter of a message that asks for 1.00 to an account that is not there."""
    shelf = Shelf([message(asked(credit="zoe"), id="order-17", key="users:alice:USD")])
    consumer = consumer_of(people, shelf)
    (topic,) = consumer.bound
    settings.INBOUND_TOPICS = (InboundTopic(topic, people.client.name, "core", "execute"),)
    consumer.consume(timeout_s=0)
    return DeadLetter.objects.get(consumer=f"inbound:{topic}")


def held_by_zoe(bank: Tenant) -> int:
    return bank.posted(bank.account("users:zoe:USD"))


def test_a_message_is_booked_once_its_account_is_there(people: Tenant, refused: DeadLetter) -> None:
    assert (refused.error_code, refused.client_id) == ("account_unknown", people.client.pk)
    failed = replay(refused).failure
    assert failed is not None
    assert "account_unknown" in failed.detail

    people.person("zoe")
    assert replay(refused).failure is None

    assert held_by_zoe(people) == 100
    with pytest.raises(DeadLetterResolved):
        replay(refused)
    assert verify(client_id=people.client.pk).holds


def test_a_message_that_was_booked_before_its_letter_was_resolved_is_not_booked_again(
    people: Tenant, refused: DeadLetter
) -> None:
    people.person("zoe")
    consuming.replay(refused)  # and here the process was killed
    assert (held_by_zoe(people), DeadLetter.objects.get(pk=refused.pk).status) == (100, "open")
    assert replay(refused).letter.status == "replayed"
    assert held_by_zoe(people) == 100
    assert Transaction.objects.filter(client=people.client, idempotency_key__startswith="core:").count() == 1


def test_a_replay_is_no_other_message_whatever_its_id(people: Tenant, refused: DeadLetter) -> None:
    people.person("zoe")
    shelf = Shelf([message(asked(credit="zoe"), id="order-17#1"), message(asked(credit="zoe"), id="order-17#2")])
    consumer_of(people, shelf).consume(timeout_s=0)
    assert replay(refused).failure is None
    assert held_by_zoe(people) == 300


def delivered_late(people: Tenant, row: DeadLetter) -> None:
    """Deliver the message of a letter again, once it is forgotten that it was handled."""
    execute("DELETE FROM events_processed WHERE consumer = %(follower)s", row.consumer)
    body, headers = bytes(row.body), dict(row.headers)
    shelf = Shelf([message(0)._replace(key=row.key, value=body, headers=headers)])
    consumer_of(people, shelf).consume(timeout_s=0)
    assert len(shelf.done_with) == 1


def test_what_was_refused_and_replayed_is_not_booked_again_however_late_it_is_delivered(
    people: Tenant, refused: DeadLetter
) -> None:
    people.person("zoe")
    assert replay(refused).failure is None
    delivered_late(people, refused)
    assert held_by_zoe(people) == 100


def test_what_had_failed_and_is_replayed_is_booked_once_beside_its_failure(people: Tenant, settings: Any) -> None:
    shelf = Shelf([message(asked("11.00"), id="order-18")])
    consumer = consumer_of(people, shelf)
    (topic,) = consumer.bound
    settings.INBOUND_TOPICS = (InboundTopic(topic, people.client.name, "core", "execute"),)
    consumer.consume(timeout_s=0)
    row = DeadLetter.objects.get(consumer=f"inbound:{topic}")
    assert replay(row).failure is not None
    people.move("cash:USD", "users:alice:USD", "1.00", type="cash_in")
    assert replay(row).failure is None
    delivered_late(people, row)
    found = Transaction.objects.filter(client=people.client, idempotency_key__startswith="core:").order_by("id")
    assert list(found.values_list("idempotency_key", "status")) == [
        ("core:order-18", "failed"),
        ("core:order-18 replayed", "completed"),
    ]
    assert people.posted(people.account("users:bob:USD")) == 1100


def test_ten_replays_at_once_book_a_message_once(people: Tenant, refused: DeadLetter) -> None:
    people.person("zoe")

    def ask() -> str:
        try:
            return replay(refused).letter.status
        except DeadLetterResolved as refusal:
            return refusal.code

    with ThreadPoolExecutor(10) as pool:
        came = sorted(pool.map(lambda _: in_thread(ask), range(10)))
    assert came == ["dead_letter_resolved"] * 9 + ["replayed"]
    assert held_by_zoe(people) == 100


def test_what_the_books_refuse_again_leaves_nothing_but_its_error(people: Tenant, refused: DeadLetter) -> None:
    people.person("zoe")
    people.move("users:alice:USD", "cash:USD", "10.00", type="cash_out")
    before = Transaction.objects.filter(client=people.client).count()
    assert replay(refused).failure is not None
    assert DeadLetter.objects.get(pk=refused.pk).last_error.startswith("insufficient_funds: ")
    assert Transaction.objects.filter(client=people.client).count() == before


def test_a_topic_that_is_not_consumed_any_more_says_so(people: Tenant, refused: DeadLetter, settings: Any) -> None:
    settings.INBOUND_TOPICS = ()
    assert replay(refused).failure is not None
    assert DeadLetter.objects.get(pk=refused.pk).last_error.startswith("inbound_unbound: ")


@pytest.fixture
def unheard(bank: Tenant, settings: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Diary, UUID, DeadLetter]:
    """A listener, a key that it could not bear, and the letter of that key's event."""
    diary, key = Diary(), uuid4()
    monkeypatch.setattr(relay, "import_string", DIARIES.__getitem__)
    DIARIES["diary"] = diary
    settings.LISTENERS = {diary.name.partition(":")[2]: "diary"}
    begun(diary.follower)
    record(bank.client.pk, key)
    diary.cannot_bear = {key}
    for _ in range(6):
        execute(DUE, diary.name)
        caught_up(diary.follower)
    return diary, key, DeadLetter.objects.get(consumer=diary.name)


def test_a_listener_hears_the_event_that_it_could_not_bear_once(unheard: tuple[Diary, UUID, DeadLetter]) -> None:
    diary, key, row = unheard
    assert replay(row).failure is not None
    assert (diary.heard(key), DeadLetter.objects.get(pk=row.pk).replay_count) == ([], 1)
    diary.cannot_bear.clear()
    assert replay(row).failure is None
    assert diary.heard(key) == [1]


def test_a_listener_that_has_heard_it_meanwhile_does_not_hear_it_again(unheard: tuple[Diary, UUID, DeadLetter]) -> None:
    diary, key, row = unheard
    diary.cannot_bear.clear()
    replay(row)
    DeadLetter.objects.filter(pk=row.pk).update(status="open", resolved_at=None)
    assert replay(row).failure is None
    assert diary.heard(key) == [1]


def test_a_listener_that_is_gone_is_named(unheard: tuple[Diary, UUID, DeadLetter], settings: Any) -> None:
    settings.LISTENERS = {}
    replay(unheard[2])
    assert DeadLetter.objects.get(pk=unheard[2].pk).last_error.startswith("event_gone: ")


def test_a_broker_is_handed_what_it_refused_under_no_lock_and_the_connection_is_closed(
    bank: Tenant, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, key, closed = Postbox(), uuid4(), list[str]()
    monkeypatch.setattr(relay, "open_transport", lambda _: box)
    publish, free = Postbox.publish, list[bool]()

    def look_and_publish(one: Postbox, messages: Sequence[Message]) -> dict[int, str]:
        free.extend(meanwhile(partial(is_free, row)) for row in DeadLetter.objects.filter(consumer=follower.name))
        assert not connection.in_atomic_block
        return publish(one, messages)

    monkeypatch.setattr(Postbox, "publish", look_and_publish)
    monkeypatch.setattr(Postbox, "close", lambda one: closed.append(one.name))
    settings.EVENTS_URLS = ("null:",)
    follower = TransportFollower(f"transport:{box.name}", box)
    begun(follower)
    box.refused = {key}
    record(bank.client.pk, key)
    caught_up(follower)
    row = DeadLetter.objects.get(consumer=follower.name)

    assert replay(row).failure is not None
    assert DeadLetter.objects.get(pk=row.pk).last_error == "message_refused: too large"
    box.is_away = True
    assert replay(row).failure is not None
    box.is_away, box.refused = False, set()
    assert replay(row).failure is None

    assert [UUID(one.key) for one in box.published] == [key]
    assert closed == [box.name] * 3
    assert free == [True] * 3
