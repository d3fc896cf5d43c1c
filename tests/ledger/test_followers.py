"""Listeners and transports: each event has one effect, those of a key in their order, and no key holds up another."""

from __future__ import annotations

import json
import random
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import psycopg
import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import DatabaseError, OperationalError, connection, transaction

from config.localstack.processes import wait_until
from config.runtime.clock import now
from config.runtime.database import raw_cursor
from ledger.events import listeners
from ledger.events.dead_letters import Letter, record_dead_letters
from ledger.events.failures import ATTEMPTS_MAX
from ledger.events.following import follow
from ledger.events.lanes import Lanes
from ledger.events.listeners import PARKED_MAX
from ledger.events.models import DeadLetter, EventPosition
from ledger.events.publishing import TransportFollower
from ledger.events.stream import (
    FOLLOWER_LENGTH_MAX,
    LANES,
    WINDOW_SIZE,
    LaneLost,
    begin,
    listener_name,
    pass_over,
    read_window,
)
from ledger.events.transports.base import Message, TransportAway
from tests.counted import statements
from tests.ledger.followed import (
    ALL,
    CURSORS,
    DUE,
    Diary,
    Postbox,
    begun,
    caught_up,
    execute,
    numbered,
    parked,
    record,
)
from tests.ledger.locks import in_thread
from tests.people import Tenant


@pytest.fixture
def diary(db) -> Diary:
    """A listener that begins with what happens from now on."""
    made = Diary()
    begun(made.follower)
    return made


@pytest.fixture
def keys() -> list[UUID]:
    return [uuid4() for _ in range(5)]


def sequences(key: UUID) -> list[int]:
    return list(EventPosition.objects.filter(key=key).order_by("position").values_list("sequence", flat=True))


def test_a_listener_hears_each_event_once_and_in_order(bank: Tenant, diary: Diary, keys: list[UUID]) -> None:
    record(bank.client.pk, *keys, *keys[:2])
    caught_up(diary.follower)
    caught_up(diary.follower)
    assert [diary.heard(key) for key in keys] == [[1, 2], [1, 2], [1], [1], [1]]
    assert sum(diary.calls) >= 7


def test_what_was_heard_is_not_heard_again_though_the_cursor_was_lost(bank: Tenant, diary: Diary, keys) -> None:
    ((before, _),) = execute(CURSORS, diary.name)
    record(bank.client.pk, *keys)
    caught_up(diary.follower)
    execute(f"UPDATE events_cursor SET position = {before} WHERE follower = %(follower)s", diary.name)
    caught_up(diary.follower)
    assert [diary.heard(key) for key in keys] == [[1]] * 5


def test_a_key_that_a_listener_cannot_bear_holds_up_that_key_alone(bank: Tenant, diary: Diary, keys) -> None:
    poison, *others = keys
    diary.cannot_bear = {poison}
    record(bank.client.pk, poison, *others, poison)
    caught_up(diary.follower)
    record(bank.client.pk, *others, poison)
    caught_up(diary.follower)

    assert [diary.heard(key) for key in others] == [[1, 2]] * 4
    assert diary.heard(poison) == []
    assert parked(diary.follower) == [(poison, 1, "unexpected_error"), (poison, 0, ""), (poison, 0, "")]

    diary.cannot_bear = set()
    caught_up(diary.follower)
    assert diary.heard(poison) == []  # not before its time
    execute(DUE, diary.name)
    caught_up(diary.follower)
    assert (diary.heard(poison), parked(diary.follower)) == ([1, 2, 3], [])


def test_what_is_parked_stays_so_though_the_cursor_was_lost(bank: Tenant, diary: Diary, keys) -> None:
    ((before, _),) = execute(CURSORS, diary.name)
    diary.cannot_bear = {keys[0]}
    record(bank.client.pk, *keys[:2], keys[0])
    caught_up(diary.follower)
    execute(f"UPDATE events_cursor SET position = {before} WHERE follower = %(follower)s", diary.name)
    caught_up(diary.follower)
    assert parked(diary.follower) == [(keys[0], 1, "unexpected_error"), (keys[0], 0, "")]
    assert diary.heard(keys[1]) == [1]


def test_a_failing_event_waits_longer_after_each_attempt(bank: Tenant, diary: Diary, keys) -> None:
    diary.cannot_bear = {keys[0]}
    record(bank.client.pk, keys[0])
    for attempt in range(1, ATTEMPTS_MAX):
        execute(DUE, diary.name)
        caught_up(diary.follower)
        ((next_at, attempts),) = execute(
            "SELECT next_attempt_at, attempts FROM events_parked WHERE follower = %(follower)s", diary.name
        )
        pause_s = 2 ** (attempt - 1)
        assert attempts == attempt
        assert timedelta(seconds=pause_s / 2 - 0.5) < next_at - now() <= timedelta(seconds=pause_s)


def test_after_five_attempts_an_event_is_a_dead_letter_and_the_next_of_its_key_goes_on(
    bank: Tenant, diary: Diary, keys
) -> None:
    poison = keys[0]
    diary.cannot_bear = {poison}
    record(bank.client.pk, poison, poison)
    for _ in range(ATTEMPTS_MAX):
        execute(DUE, diary.name)
        caught_up(diary.follower)
    letter = DeadLetter.objects.get(consumer=diary.name)
    assert (letter.client_id, letter.key, letter.attempts, letter.error_code, letter.error) == (
        bank.client.pk,
        str(poison),
        ATTEMPTS_MAX,
        "unexpected_error",
        "RuntimeError: It is too much.",
    )
    first = EventPosition.objects.get(key=poison, sequence=1)
    assert (letter.topic, letter.partition, letter.offset) == ("transactions", None, str(first.position))
    assert bytes(letter.body) == b'{"n": 0}'
    diary.cannot_bear = set()
    execute(DUE, diary.name)
    caught_up(diary.follower)
    assert (diary.heard(poison), parked(diary.follower)) == ([2], [])


def rolled_back() -> None:
    transaction.set_rollback(True)


def swallowed() -> None:
    with suppress(DatabaseError), raw_cursor() as cursor:
        cursor.execute("SELECT 1/0")


def hung_up() -> None:
    connection.close()


@pytest.mark.parametrize("undo", [rolled_back, swallowed, hung_up])
def test_a_listener_that_undoes_its_own_effect_has_not_taken_the_event(
    bank: Tenant, diary: Diary, keys, undo: Callable[[], None]
) -> None:
    diary.afterwards = {keys[0]: undo}
    record(bank.client.pk, keys[0], keys[0], keys[1])
    for _ in range(ATTEMPTS_MAX - 1):
        execute(DUE, diary.name)
        caught_up(diary.follower)
    assert [(key, attempts) for key, attempts, _ in parked(diary.follower)] == [(keys[0], 4), (keys[0], 0)]
    assert (diary.heard(keys[0]), diary.heard(keys[1])) == ([], [1])
    execute(DUE, diary.name)
    diary.afterwards = {}
    caught_up(diary.follower)
    assert diary.heard(keys[0]) == [1, 2]


def test_of_the_dead_letter_of_what_tells_of_a_dead_letter_nobody_is_told(bank: Tenant, diary: Diary, keys) -> None:
    diary.cannot_bear = {keys[0], "dead_letter.recorded"}
    record(bank.client.pk, keys[0])
    for _ in range(4 * ATTEMPTS_MAX):
        numbered()
        execute(DUE, diary.name)
        caught_up(diary.follower)
    letters = DeadLetter.objects.filter(consumer=diary.name).order_by("pk")
    assert [letter.topic for letter in letters] == ["transactions", "transactions.dlq"]
    assert parked(diary.follower) == []


def test_an_event_that_is_dropped_while_it_is_parked_is_said_to_be_lost(
    bank: Tenant, diary: Diary, monkeypatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(listeners.log, "error", lambda event, **_: said.append(event))
    execute(
        "INSERT INTO events_parked (follower, key, position, lane, attempts, next_attempt_at, error_code, error) "
        "VALUES (%(follower)s, gen_random_uuid(), -1, 0, 1, clock_timestamp(), '', '')",
        diary.name,
    )
    assert diary.follower.take_parked(ALL) == 1
    assert (parked(diary.follower), said) == ([], ["listener.event_not_kept"])


def test_a_database_that_is_away_is_nobodys_fault(bank: Tenant, diary: Diary, keys) -> None:
    diary.cannot_bear, diary.error = {keys[0]}, OperationalError("the connection is lost")
    diary.error.__cause__ = psycopg.OperationalError("the connection is lost")
    ((before, _),) = execute(CURSORS, diary.name)
    record(bank.client.pk, keys[0])
    with pytest.raises(OperationalError):
        caught_up(diary.follower)
    assert (execute(CURSORS, diary.name), parked(diary.follower)) == ([(before, before)], [])


def test_of_two_who_have_read_the_same_events_one_takes_them(bank: Tenant, diary: Diary, keys) -> None:
    record(bank.client.pk, *keys)
    window = read_window(diary.name, ALL)
    assert window is not None
    diary.follower.take(window)
    with pytest.raises(LaneLost):
        diary.follower.take(window)
    assert [diary.heard(key) for key in keys] == [[1]] * 5


def test_a_window_is_bounded_and_says_when_there_may_be_more(bank: Tenant, diary: Diary) -> None:
    record(bank.client.pk, *(uuid4() for _ in range(WINDOW_SIZE + 1)))
    window = read_window(diary.name, ALL)
    assert window is not None
    assert (window.is_full, len(window.events) <= WINDOW_SIZE) == (True, True)
    caught_up(diary.follower)
    assert sum(diary.calls) >= WINDOW_SIZE + 1


def test_lanes_that_stand_apart_read_each_event_once(bank: Tenant, diary: Diary, keys) -> None:
    record(bank.client.pk, *keys)
    for lane in range(0, LANES, 2):
        while (window := read_window(diary.name, [lane])) is not None:
            diary.follower.take(window)
    record(bank.client.pk, *keys)
    caught_up(diary.follower)
    assert [diary.heard(key) for key in keys] == [[1, 2]] * 5


def test_a_listener_with_too_much_parked_waits_with_everything(bank: Tenant, diary: Diary) -> None:
    execute(
        "INSERT INTO events_parked (follower, key, position, lane, attempts, next_attempt_at, error_code, error) "
        f"SELECT %(follower)s, gen_random_uuid(), n, 0, 0, 'infinity', '', '' FROM generate_series(2, {PARKED_MAX}) n",
        diary.name,
    )
    assert diary.follower.can_go_on()
    execute(
        "INSERT INTO events_parked (follower, key, position, lane, attempts, next_attempt_at, error_code, error) "
        "VALUES (%(follower)s, gen_random_uuid(), 1, 0, 0, 'infinity', '', '')",
        diary.name,
    )
    assert not diary.follower.can_go_on()


def test_a_new_follower_begins_with_the_oldest_event_that_is_kept(bank: Tenant, keys) -> None:
    record(bank.client.pk, *keys)
    diary = Diary()
    begin(diary.name)
    oldest = EventPosition.objects.order_by("position").values_list("position", flat=True)[0]
    assert pass_over(diary.name, ALL) == 0
    assert execute(CURSORS, diary.name) == [(oldest - 1, oldest - 1)]


def test_three_relays_share_the_lanes_and_take_what_a_dead_one_leaves(db) -> None:
    name = uuid4().hex
    relays = [Lanes(name) for _ in range(3)]
    for _ in range(2):
        for relay in relays:
            relay.look()
    assert sorted(len(relay.owned) for relay in relays) == [4, 6, 6]
    assert sorted(lane for relay in relays for lane in relay.owned) == list(ALL)
    relays.pop(0).close()

    def is_shared_out() -> bool:
        for relay in relays:
            relay.look()
        return sorted(lane for relay in relays for lane in relay.owned) == list(ALL)

    # The server ends the session a moment after it was told so.
    assert wait_until(is_shared_out, timeout_s=5)
    assert [len(relay.owned) for relay in relays] == [8, 8]
    for relay in relays:
        relay.close()


LANE_SESSIONS = """
SELECT pg_terminate_backend(pid)
FROM (SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = %(group)s AND granted) holder
"""


def test_who_loses_its_lanes_in_mid_publish_loses_nothing_and_overtakes_nothing(bank: Tenant, keys) -> None:
    boxes, chance = [Postbox(name="box") for _ in range(2)], random.Random(5)
    told, stop = list[tuple[UUID, int]](), threading.Event()

    def publish(messages: Sequence[Message]) -> dict[int, str]:
        time.sleep(chance.uniform(0, 0.3))
        told.extend((UUID(one.key), int(json.loads(one.value)["sequence"])) for one in messages)
        return {}

    name = f"transport:{uuid4().hex}"
    begun(TransportFollower(name, boxes[0]))
    for box in boxes:
        box.publish = publish  # type: ignore[method-assign]
    works = [partial(follow, TransportFollower(name, box), threading.Event(), stop) for box in boxes]
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(in_thread, work) for work in works]
        for _ in range(30):
            record(bank.client.pk, *chance.choices(keys, k=20))
            with raw_cursor() as cursor:
                cursor.execute(LANE_SESSIONS, {"group": zlib.crc32(name.encode()) & 0x7FFF_FFFF})
            time.sleep(0.1)
        expected = {(key, sequence) for key in keys for sequence in sequences(key)}
        assert wait_until(lambda: set(told) >= expected, timeout_s=20)
        stop.set()
        for one in running:
            one.result(timeout=10)
    last = dict.fromkeys(keys, 0)
    for key, sequence in (one for one in told if one in expected):
        assert sequence <= last[key] + 1
        last[key] = max(last[key], sequence)


def test_a_transport_publishes_in_order_and_once(bank: Tenant, keys) -> None:
    box = Postbox()
    follower = TransportFollower(f"transport:{box.name}", box)
    begun(follower)
    record(bank.client.pk, *keys, keys[0])
    caught_up(follower)
    caught_up(follower)
    mine = [one.key for one in box.published if UUID(one.key) in keys]
    assert mine == [str(key) for key in (*keys, keys[0])]


def test_while_its_broker_is_away_a_transport_goes_no_further(bank: Tenant, keys) -> None:
    box = Postbox(is_away=True)
    follower = TransportFollower(f"transport:{box.name}", box)
    begun(follower)
    record(bank.client.pk, *keys)
    for _ in range(2):
        with pytest.raises(TransportAway):
            caught_up(follower)
    box.is_away = False
    caught_up(follower)
    assert [one.key for one in box.published if UUID(one.key) in keys] == [str(key) for key in keys]


def test_what_a_broker_never_takes_is_a_dead_letter_and_the_rest_is_published(bank: Tenant, keys) -> None:
    box = Postbox(refused={keys[1]})
    follower = TransportFollower(f"transport:{box.name}", box)
    begun(follower)
    record(bank.client.pk, *keys)
    caught_up(follower)
    letter = DeadLetter.objects.get(consumer=follower.name)
    assert (letter.key, letter.error_code, letter.error, letter.attempts) == (
        str(keys[1]),
        "message_refused",
        "too large",
        1,
    )
    assert [one.key for one in box.published if UUID(one.key) in keys] == [str(key) for key in keys if key != keys[1]]


def test_nothing_to_read_costs_one_query(db, diary: Diary) -> None:
    assert statements(lambda: read_window(diary.name, ALL)) == 1


def test_a_dead_letter_is_published_as_the_message_that_it_is_with_what_went_wrong(bank: Tenant) -> None:
    box = Postbox()
    follower = TransportFollower(f"transport:{box.name}", box)
    begun(follower)
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    letter = Letter(
        consumer="inbound:transactions.inbound",
        client_id=bank.client.pk,
        topic="transactions.inbound",
        partition=3,
        offset="77",
        key="alice",
        headers={"content-type": "text/plain", "x-own": "kept"},
        body=b"\xff\x00not json",
        event_id="m-1",
        error_code="malformed_message",
        error="It is no CloudEvent.",
        attempts=1,
        trace=trace,
    )
    with transaction.atomic():
        (letter_id,) = record_dead_letters([letter])
    numbered()
    caught_up(follower)
    (message,) = [one for one in box.published if one.headers.get("x-dead-letter-id") == str(letter_id)]
    assert (message.topic, message.key, message.value) == ("transactions.dlq", "alice", letter.body)
    assert message.headers.pop("x-failed-at")
    assert message.headers == {
        "content-type": "text/plain",
        "x-own": "kept",
        "traceparent": trace,
        "x-dead-letter-id": str(letter_id),
        "x-consumer": "inbound:transactions.inbound",
        "x-original-topic": "transactions.inbound",
        "x-original-partition": "3",
        "x-original-offset": "77",
        "x-error-code": "malformed_message",
        "x-error-message": "It is no CloudEvent.",
        "x-attempts": "1",
        "x-client": str(bank.client.public_id),
    }


def test_a_listener_whose_name_no_cursor_holds_is_refused_at_the_start(db, settings) -> None:
    longest = "n" * (FOLLOWER_LENGTH_MAX - len("listener:"))
    settings.LISTENERS = {longest: "nowhere"}
    assert run_checks(tags=["events"]) == []
    begin(listener_name(longest))

    settings.LISTENERS = {f"{longest}n": "nowhere"}
    (found,) = run_checks(tags=["events"])
    assert (found.id, found.msg) == (
        "countinghouse.E002",
        f"The name of a listener has 55 characters at most: '{longest}n' has 56.",
    )
    with pytest.raises(SystemCheckError, match=r"countinghouse\.E002"):
        call_command("relay_events", skip_checks=False)
