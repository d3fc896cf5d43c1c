"""A dead letter is replayed until its message is handled, once; or it is discarded with a reason."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction

from config.runtime.errors import DomainError, NotFound
from config.runtime.ids import uuid7
from ledger.clients.models import AuditEntry, IdempotencyKey
from ledger.events.errors import (
    DeadLetterBehind,
    DeadLetterBusy,
    DeadLetterResolved,
    ReplayExhausted,
    ReplayUnhandled,
)
from ledger.events.models import DeadLetter, OutboxEvent
from ledger.queries.dead_letters import Selection, tally
from ledger.services import dead_letters
from ledger.services.dead_letter_runs import replay_dead_letters
from ledger.services.dead_letters import (
    REPLAYS_MAX,
    STAFF_REPLAYS_MAX,
    Handled,
    discard_dead_letter,
    replay_dead_letter,
)
from tests.ledger.letters import letter, record, recorded
from tests.ledger.locks import in_thread
from tests.ledger.replaying import HANDLED, handlers
from tests.people import Tenant
from tests.scratch import ROOT, environment

__all__ = ["handlers"]

BY: dict[str, Any] = {"actor": "staff:root", "request_id": "r-1"}
LISTENER, INBOUND = "listener", "inbound"


def own(kind: str) -> str:
    """Return a consumer that no other test has."""
    return f"{kind}:{uuid4()}"


def replay(row: DeadLetter, **more: Any) -> Handled:
    return replay_dead_letter(letter_id=row.pk, **(BY | more))


def now(row: DeadLetter) -> DeadLetter:
    return DeadLetter.objects.get(pk=row.pk)


def audited(row: DeadLetter) -> list[tuple[str, str, str, Any]]:
    rows = AuditEntry.objects.filter(object_type="events.deadletter", object_id=str(row.pk)).order_by("id")
    return [(one.action, one.actor, one.reason, one.client_id) for one in rows]


def told(row: DeadLetter) -> list[tuple[str, str]]:
    return [(one.type, json.loads(one.data)["status"]) for one in OutboxEvent.objects.filter(key=row.pk).order_by("id")]


def fails(_letter: DeadLetter) -> None:
    raise LookupError("nobody at amqp://guest:hunter2@broker")


def writes(letter: DeadLetter) -> None:
    """Have an effect in the database."""
    AuditEntry.objects.create(actor="handler", action="handled", object_type="test", object_id=str(letter.pk))


def effects(row: DeadLetter) -> int:
    return AuditEntry.objects.filter(object_type="test", object_id=str(row.pk)).count()


def meanwhile(work: Callable[[], Any]) -> Any:
    """Do something on another connection."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(in_thread, work).result()


def is_free(row: DeadLetter) -> bool:
    """Tell whether nobody has the row locked."""
    with transaction.atomic():
        return DeadLetter.objects.select_for_update(skip_locked=True).filter(pk=row.pk).exists()


@pytest.mark.parametrize("consumer", [LISTENER, INBOUND])
def test_a_message_that_is_handled_resolves_its_letter(bank: Tenant, handlers: list[Any], consumer: str) -> None:
    given = letter(bank, consumer=own(consumer), body=bytes(range(256)), headers={"a": "\0"})
    row = DeadLetter.objects.get(pk=record(given)[0])
    seen: list[Any] = []
    handlers.append(lambda one: seen.append((bytes(one.body), one.headers, one.event_id)))

    handled = replay(row, reason="mended")

    assert seen == [(given.body, given.headers, given.event_id)]
    assert (handled.failure, handled.letter.status) == (None, "replayed")
    after = now(row)
    assert (after.status, after.replay_count, after.resolved_by, after.reason) == (
        "replayed",
        1,
        "staff:root",
        "mended",
    )
    assert after.resolved_at is not None
    assert after.resolved_at > row.created_at
    assert audited(row) == [("dead_letter.replayed", "staff:root", "mended", bank.client.pk)]
    assert told(row) == [("dead_letter.recorded", "open"), ("dead_letter.replayed", "replayed")]


@pytest.mark.parametrize("consumer", [LISTENER, INBOUND])
def test_one_that_fails_again_stays_open_and_says_why(bank: Tenant, handlers: list[Any], consumer: str) -> None:
    row = recorded(bank, consumer=own(consumer))
    handlers.append(fails)

    handled = replay(row)

    assert handled.failure is not None
    assert handled.failure.code == "replay_failed"
    after = now(row)
    assert (after.status, after.replay_count, after.resolved_at) == ("open", 1, None)
    assert after.last_error == "unexpected_error: LookupError: nobody at amqp://[redacted]@broker"
    assert (after.error, after.created_at) == (row.error, row.created_at)
    assert after.failed_at > row.failed_at
    assert audited(row) == [("dead_letter.replay_failed", "staff:root", "", bank.client.pk)]
    assert told(row) == [("dead_letter.recorded", "open")]

    handlers.clear()
    assert replay(row).letter.replay_count == 2
    assert HANDLED[row.pk] == 1


def test_what_a_handler_wrote_before_it_failed_is_undone(bank: Tenant, handlers: list[Any]) -> None:
    row = recorded(bank, consumer=own(LISTENER))
    handlers += [writes, fails]
    replay(row)
    assert (effects(row), now(row).replay_count) == (0, 1)


class Wrong(DomainError):
    """It does not fit."""

    code = "wrong"


def divided(_letter: DeadLetter) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


def refused(_letter: DeadLetter) -> None:
    raise Wrong


def dangling(_letter: DeadLetter) -> None:
    IdempotencyKey.objects.create(client_id=10**12, key="k", operation="o", request_hash=b"", object_id="")


@pytest.mark.parametrize(
    ("work", "error"),
    [
        (divided, "sqlstate_22012: DataError: division by zero"),
        (refused, "wrong: It does not fit."),
        (dangling, "sqlstate_23503: IntegrityError: insert or update on table"),
    ],
)
def test_errors_are_told_by_their_code(bank: Tenant, handlers: list[Any], work: Any, error: str) -> None:
    row = recorded(bank, consumer=own(LISTENER))
    handlers.append(work)
    assert replay(row).failure is not None
    assert now(row).last_error.startswith(error)


def test_a_handler_that_loses_the_database_changes_nothing(bank: Tenant, handlers: list[Any]) -> None:
    row = recorded(bank, consumer=own(LISTENER))
    handlers.append(lambda _: connection.connection.close())
    with pytest.raises(DatabaseError):
        replay(row)
    assert (now(row).status, now(row).replay_count) == ("open", 0)


def test_nobody_handles_a_kind_without_a_handler(bank: Tenant, handlers: list[Any]) -> None:
    row = recorded(bank, consumer="transport:kafka")
    with pytest.raises(ReplayUnhandled):
        replay(row)
    assert (now(row).replay_count, audited(row)) == (0, [])


def test_a_resolved_letter_is_not_resolved_again(bank: Tenant, handlers: list[Any]) -> None:
    replayed, discarded = recorded(bank), recorded(bank)
    replay(replayed)
    discard_dead_letter(letter_id=discarded.pk, reason="a test", **BY)
    for row in (replayed, discarded):
        before = now(row)
        with pytest.raises(DeadLetterResolved):
            replay(row)
        with pytest.raises(DeadLetterResolved):
            discard_dead_letter(letter_id=row.pk, reason="once more", **BY)
        assert (now(row).reason, now(row).resolved_at) == (before.reason, before.resolved_at)
    assert HANDLED.total() == 1


def test_a_discarded_letter_keeps_its_reason_and_is_told(bank: Tenant, handlers: list[Any]) -> None:
    row = recorded(bank)
    discard_dead_letter(letter_id=row.pk, reason="asked twice", **BY)
    after = now(row)
    assert (after.status, after.reason, after.resolved_by, after.replay_count) == (
        "discarded",
        "asked twice",
        "staff:root",
        0,
    )
    assert audited(row) == [("dead_letter.discarded", "staff:root", "asked twice", bank.client.pk)]
    assert told(row) == [("dead_letter.recorded", "open"), ("dead_letter.discarded", "discarded")]


def test_after_five_replays_staff_alone_may_go_on(bank: Tenant, handlers: list[Any]) -> None:
    row = recorded(bank)
    handlers.append(fails)
    for _ in range(REPLAYS_MAX):
        replay(row)
    with pytest.raises(ReplayExhausted):
        replay(row)
    assert now(row).replay_count == REPLAYS_MAX == 5

    DeadLetter.objects.filter(pk=row.pk).update(replay_count=STAFF_REPLAYS_MAX - 1)
    replay(row, replays_max=STAFF_REPLAYS_MAX)
    with pytest.raises(ReplayExhausted):
        replay(row, replays_max=STAFF_REPLAYS_MAX)
    assert now(row).replay_count == STAFF_REPLAYS_MAX


def test_a_letter_of_nobody_is_replayed_and_nobody_is_told(db: None, handlers: list[Any]) -> None:
    row = recorded(None)
    assert replay(row).letter.client is None
    assert (audited(row), told(row)) == ([("dead_letter.replayed", "staff:root", "", None)], [])


def test_what_is_not_there_is_not_found(db: None, handlers: list[Any]) -> None:
    with pytest.raises(NotFound):
        replay_dead_letter(letter_id=uuid7(), **BY)
    with pytest.raises(NotFound):
        discard_dead_letter(letter_id=uuid7(), reason="mine", **BY)


def test_letters_of_a_key_are_replayed_in_their_order(bank: Tenant, handlers: list[Any]) -> None:
    consumer = f"listener:{bank.client.pk}"
    first, second = recorded(bank, consumer=consumer), recorded(bank, consumer=consumer)
    other_key, other_consumer = recorded(bank, consumer=consumer, key="another"), recorded(bank)
    with pytest.raises(DeadLetterBehind) as refusal:
        replay(second)
    assert refusal.value.fields == {"older_dead_letter_id": str(first.pk)}
    assert replay(other_key).failure is replay(other_consumer).failure is None

    discard_dead_letter(letter_id=first.pk, reason="nobody wants it", **BY)
    assert replay(second).failure is None


def test_messages_without_a_key_have_no_order(bank: Tenant, handlers: list[Any]) -> None:
    consumer = f"listener:{bank.client.pk}"
    first, second = (recorded(bank, consumer=consumer, key="") for _ in range(2))
    assert replay(second).failure is None
    assert now(first).status == "open"


# Many


def test_many_are_replayed_oldest_first_and_a_failure_holds_back_its_key_alone(
    bank: Tenant, handlers: list[Any]
) -> None:
    consumer = f"inbound:{bank.client.pk}"
    keys = ["a", "b", "a", "b", "a"]
    ids = record(*[letter(bank, consumer=consumer, key=key) for key in keys])
    handlers.append(lambda one: fails(one) if one.pk == ids[1] else None)

    done = list(replay_dead_letters([*ids[::-1], ids[0], uuid7()], rate_per_s=1000, **BY))

    codes = ["", "replay_failed", "", "dead_letter_behind", "", "not_found"]
    assert done == list(zip([*ids, done[-1][0]], codes, strict=True))
    assert list(HANDLED) == [ids[0], ids[2], ids[4]]


def test_many_are_begun_at_a_bounded_rate(bank: Tenant, handlers: list[Any]) -> None:
    ids = record(*[letter(bank) for _ in range(4)])
    begun = list[float]()
    handlers.append(lambda _: begun.append(time.monotonic()))
    list(replay_dead_letters(ids, rate_per_s=4, **BY))
    assert begun[-1] - begun[0] >= 3 / 4 - 0.1  # the first may have taken longer to begin


def test_a_tally_tells_what_may_be_replayed_and_changes_nothing(bank: Tenant, handlers: list[Any]) -> None:
    consumer = f"inbound:{bank.client.pk}"
    rows = [recorded(bank, consumer=consumer) for _ in range(3)]
    recorded(bank, consumer=consumer, error_code="22P02")
    unhandled = recorded(bank, consumer="transport:kafka")
    DeadLetter.objects.filter(pk=rows[0].pk).update(replay_count=REPLAYS_MAX)
    before = list(DeadLetter.objects.filter(client=bank.client).order_by("pk").values())

    found = tally(Selection(client_id=bank.client.pk).rows, replays_max=REPLAYS_MAX)

    assert [(one.consumer, one.error_code, one.count, one.replayable) for one in found] == [
        (consumer, "22P02", 1, 1),
        (consumer, "account_unknown", 3, 2),
        (unhandled.consumer, "account_unknown", 1, 0),
    ]
    assert list(DeadLetter.objects.filter(client=bank.client).order_by("pk").values()) == before
    assert HANDLED.total() == 0


CHOSEN: dict[str, tuple[Callable[[DeadLetter], dict[str, Any]], set[int]]] = {
    "all": (lambda _: {}, {0, 1}),
    "a consumer": (lambda row: {"consumer": row.consumer}, {0}),
    "a code": (lambda row: {"error_code": row.error_code}, {0}),
    "a topic": (lambda row: {"topic": row.topic}, {0}),
    "a key": (lambda row: {"key": row.key}, {0}),
    "ids": (lambda row: {"ids": [row.pk]}, {0}),
    "no ids": (lambda _: {"ids": []}, set()),
    "a code and another key": (lambda row: {"error_code": row.error_code, "key": "b"}, set()),
    "since it": (lambda row: {"since": row.created_at}, {0, 1}),
    "since just after it": (lambda row: {"since": row.created_at + timedelta(milliseconds=1)}, {1}),
    "until it": (lambda row: {"until": row.created_at}, set()),
    "until just after it": (lambda row: {"until": row.created_at + timedelta(milliseconds=1)}, {0}),
}


@pytest.mark.parametrize(("asked", "places"), CHOSEN.values(), ids=CHOSEN)
def test_a_selection_means_open_letters_for_which_all_holds(bank: Tenant, asked: Any, places: set[int]) -> None:
    resolved = recorded(bank)
    discard_dead_letter(letter_id=resolved.pk, reason="a test", **BY)
    first = recorded(bank, error_code="first", topic="first", key="a")
    time.sleep(0.003)  # ids tell milliseconds
    second = recorded(bank, error_code="second", key="b")
    found = Selection(client_id=bank.client.pk, **asked(first)).rows
    assert [row.pk for row in found] == [[first.pk, second.pk][place] for place in sorted(places)]


# Races


def outcome(work: Callable[[], Handled]) -> str:
    try:
        handled = work()
    except DomainError as refusal:
        return refusal.code
    return handled.letter.status


@pytest.mark.parametrize("consumer", [LISTENER, INBOUND])
def test_of_ten_replays_at_once_one_has_the_message_handled(bank: Tenant, handlers: list[Any], consumer: str) -> None:
    row = recorded(bank, consumer=own(consumer))
    handlers += [lambda _: time.sleep(0.2), writes]
    barrier = Barrier(10)

    def ask() -> str:
        barrier.wait()
        return outcome(partial(replay, row))

    with ThreadPoolExecutor(10) as pool:
        came = sorted(pool.map(lambda _: in_thread(ask), range(10)))

    assert came == ["dead_letter_resolved"] * 9 + ["replayed"]
    assert (HANDLED[row.pk], effects(row), now(row).replay_count) == (1, 1, 1)
    assert [action for action, *_ in audited(row)] == ["dead_letter.replayed"]


@pytest.mark.parametrize("consumer", [LISTENER, INBOUND])
def test_who_waits_too_long_for_another_replay_is_told_so(
    bank: Tenant, handlers: list[Any], monkeypatch: pytest.MonkeyPatch, consumer: str
) -> None:
    monkeypatch.setattr(dead_letters, "PATIENCE_S", 0.1)
    row, begun, go_on = recorded(bank, consumer=own(consumer)), threading.Event(), threading.Event()

    def hang(_letter: DeadLetter) -> None:
        begun.set()
        assert go_on.wait(10)

    handlers.append(hang)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(in_thread, partial(replay, row))
        assert begun.wait(10)
        for ask in (partial(replay, row), partial(discard_dead_letter, letter_id=row.pk, reason="now", **BY)):
            with pytest.raises(DeadLetterBusy):
                ask()
        go_on.set()
        assert first.result().letter.status == "replayed"


KILLED = """
import sys, time
import django
django.setup()
from uuid import UUID, uuid4
from django.conf import settings
from ledger.services.dead_letters import replay_dead_letter
from tests.ledger import replaying
from tests.ledger.test_dead_letter_replay import writes

def hang(letter):
    print("begun", flush=True)
    time.sleep(60)

settings.REPLAY_HANDLERS = {"listener": "tests.ledger.replaying.inside", "inbound": "tests.ledger.replaying.outside"}
replaying.WORK += [writes, hang]
replay_dead_letter(letter_id=UUID(sys.argv[1]), actor="killed", request_id="")
"""


@pytest.mark.parametrize(("consumer", "left"), [(LISTENER, 0), (INBOUND, 1)])
def test_a_replay_that_is_killed_leaves_the_letter_to_the_next(
    bank: Tenant, handlers: list[Any], consumer: str, left: int
) -> None:
    row = recorded(bank, consumer=own(consumer))
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(row.pk)],
        cwd=ROOT,
        env=environment() | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        said = [process.stdout.readline()]
        while said[-1] not in {"begun\n", ""}:
            said.append(process.stdout.readline())
        process.kill()
    assert said[-1] == "begun\n"

    # What commits by itself may have committed; what writes in our transaction has not.
    assert (effects(row), now(row).status, now(row).replay_count) == (left, "open", 0)
    handlers.append(writes)
    assert replay(row).letter.status == "replayed"
    assert effects(row) == left + 1


def test_a_message_that_comes_again_while_it_is_replayed_holds_nobody_up_and_is_resolved_with_it(
    bank: Tenant, handlers: list[Any]
) -> None:
    given = letter(bank)
    (first,) = record(given)
    again = list[UUID]()
    handlers.append(lambda _: again.extend(meanwhile(partial(record, given))))
    handled = replay_dead_letter(letter_id=first, **BY)
    assert again == [first]
    assert (handled.letter.status, handled.letter.attempts) == ("replayed", 2)


def test_a_handler_that_commits_by_itself_runs_while_no_row_is_locked(bank: Tenant, handlers: list[Any]) -> None:
    row, free = recorded(bank), list[bool]()
    handlers.append(lambda one: free.append(meanwhile(partial(is_free, one))))
    assert replay(row).failure is None
    assert free == [True]


def test_who_was_frozen_while_another_resolved_the_letter_changes_nothing(bank: Tenant, handlers: list[Any]) -> None:
    row = recorded(bank)
    handlers.append(
        lambda one: DeadLetter.objects.filter(pk=one.pk).update(status="discarded", resolved_at=one.failed_at)
    )
    with pytest.raises(DeadLetterResolved):
        replay(row)
    assert (now(row).status, now(row).replay_count, audited(row)) == ("discarded", 0, [])
