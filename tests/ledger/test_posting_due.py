"""The poster: rounds in the order of acceptance; who cannot be booked waits alone, and whoever dies loses nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from datetime import timedelta
from itertools import pairwise
from threading import Event
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from msgspec import to_builtins
from prometheus_client import REGISTRY
from psycopg import errors as pg

from config.localstack.processes import wait_until
from config.runtime import stopping
from config.runtime.backoff import backoff
from config.runtime.clock import now
from config.runtime.database import raw_cursor
from config.runtime.ids import uuid7
from ledger import actors, locks
from ledger.errors import PostingContended, failure_shape
from ledger.events.models import OutboxEvent
from ledger.locks import try_lane
from ledger.models import Entry, QueuedPosting, Transaction
from ledger.posting import engine
from ledger.posting.attempts import failure_code
from ledger.queries.invariants import verify
from ledger.services import posting
from ledger.services.posting import ROUND_SIZE_MAX, LaneTaken, post_due
from tests.ledger.hostile import connect
from tests.ledger.locks import in_thread, lock_modes, locked, waiting_for_locks
from tests.ledger.queueing import accepted, due_now, emptied, intent, messages_of, statuses
from tests.people import URL, Tenant

LANE = "SELECT pg_try_advisory_xact_lock(1818324581, 0)"


@pytest.fixture
def people(bank: Tenant) -> Tenant:
    """alice, bob and carol, who hold 10.00 each; nothing waits to be posted."""
    emptied()
    for name in ("alice", "bob", "carol"):
        bank.person(name, holding="10.00")
    return bank


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a lock no longer than a tenth of a second."""
    for module, name in (
        (engine, "SET_LOCK_TIMEOUT"),
        (locks, "SET_LOCK_TIMEOUT"),
        (posting, "ROUND_PATIENCE"),
        (posting, "ALONE_PATIENCE"),
    ):
        monkeypatch.setattr(module, name, "SELECT set_config('lock_timeout', '100ms', true)")


@pytest.fixture
def others() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def from_alice(people: Tenant) -> UUID:
    return accepted([intent(people)])[0]


def from_carol(people: Tenant) -> UUID:
    return accepted([intent(people, "users:carol:USD")])[0]


def state(transaction_id: UUID) -> tuple[str, int, int]:
    row = Transaction.objects.get(pk=transaction_id)
    return row.status, row.attempts, row.version


def waiting_s(transaction_id: UUID) -> float:
    return (QueuedPosting.objects.get(pk=transaction_id).next_attempt_at - now()).total_seconds()


def events_of(transaction_id: UUID) -> list[str]:
    return list(
        OutboxEvent.objects.filter(data__contains=str(transaction_id)).order_by("id").values_list("type", flat=True)
    )


def backend_of_the_poster(holder: psycopg.Connection) -> int:
    """Return the session that waits for a lock of `holder`, as soon as there is one."""

    def waiting() -> list[int]:
        found = holder.execute(
            "SELECT pid FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        ).fetchall()
        return [pid for (pid,) in found]

    assert wait_until(lambda: bool(waiting()), timeout_s=4)
    return waiting()[0]


def test_six_hundred_are_posted_in_two_rounds_in_the_order_of_their_ids(people: Tenant) -> None:
    ids = accepted([intent(people, amount_minor=1) for _ in range(600)])

    assert [post_due(0) for _ in range(3)] == [500, 100, 0]

    lines = Entry.objects.filter(account__public_id=people.account("users:alice:USD").id, amount_minor=1)
    assert list(lines.order_by("account_version").values_list("journal__transaction", flat=True)) == ids
    assert ids == sorted(ids)
    assert statuses(people) == {"completed": 600}
    assert people.posted(people.account("users:bob:USD")) == 1600
    assert verify(client_id=people.client.pk).holds


def test_nothing_is_posted_in_a_lane_where_another_poster_works(people: Tenant) -> None:
    transaction_id = from_alice(people)
    with connect("app") as another:
        another.execute("BEGIN")
        another.execute(LANE)
        with pytest.raises(LaneTaken):
            post_due(0)
        assert state(transaction_id) == ("processing", 0, 1)
        another.execute("COMMIT")
    assert post_due(0) == 1


def test_every_client_has_its_lane_and_a_poster_keeps_to_its_own(
    people: Tenant, other_bank: Tenant, settings: Any
) -> None:
    other_bank.person("alice", holding="10.00")
    other_bank.person("bob")
    # A number of lanes that parts these two.
    settings.POSTING_LANES = 1 + abs(people.client.pk - other_bank.client.pk)
    ours, theirs = from_alice(people), from_alice(other_bank)

    assert post_due(people.client.pk % settings.POSTING_LANES) == 1

    assert (state(ours)[0], state(theirs)[0]) == ("completed", "processing")
    assert post_due(other_bank.client.pk % settings.POSTING_LANES) == 1


def test_two_posters_of_a_lane_never_post_a_row_twice(people: Tenant, others: ThreadPoolExecutor) -> None:
    ids = accepted([intent(people, amount_minor=1) for _ in range(200)])

    def work() -> int:
        posted = 0
        while QueuedPosting.objects.filter(client=people.client).exists():
            try:
                posted += post_due(0)
            except LaneTaken:
                time.sleep(0.001)
        return posted

    asked = [others.submit(in_thread, work) for _ in range(4)]

    assert sum(one.result() for one in asked) == len(ids)
    assert people.posted(people.account("users:bob:USD")) == 1200
    assert verify(client_id=people.client.pk).holds


def test_a_poster_that_is_killed_leaves_everything_as_it_was(people: Tenant, others: ThreadPoolExecutor) -> None:
    ids = [from_alice(people), from_carol(people)]
    with locked(people.account("users:carol:USD")) as holder:
        round_ = others.submit(in_thread, lambda: post_due(0))
        holder.execute("SELECT pg_terminate_backend(%s)", [backend_of_the_poster(holder)])
        with pytest.raises(OperationalError) as died:
            round_.result()

    assert isinstance(died.value.__cause__, (pg.AdminShutdown, psycopg.OperationalError))
    assert [state(one) for one in ids] == [("processing", 0, 1)] * 2
    assert not Entry.objects.filter(journal__transaction__in=ids).exists()
    assert post_due(0) == 2
    assert [state(one) for one in ids] == [("completed", 0, 2)] * 2
    assert [events_of(one) for one in ids] == [["transaction.completed"]] * 2


def test_one_whose_account_is_locked_waits_alone(people: Tenant, impatient: None) -> None:
    locked_out, free = [from_alice(people), from_alice(people)], [from_carol(people), from_carol(people)]

    with locked(people.account("users:alice:USD")):
        assert post_due(0) == 2

    assert [state(one) for one in free] == [("completed", 0, 2)] * 2
    assert [state(one) for one in locked_out] == [("processing", 1, 1)] * 2
    assert all(0.3 < waiting_s(one) <= 1 for one in locked_out)
    assert post_due(0) == 0
    due_now(*locked_out)
    assert post_due(0) == 2
    assert [state(one) for one in locked_out] == [("completed", 1, 2)] * 2
    assert verify(client_id=people.client.pk).holds


def test_each_pause_is_longer_than_the_one_before_and_the_longest_is_a_minute() -> None:
    shortest, longest = (
        [pick(backoff(attempt).total_seconds() for _ in range(50)) for attempt in range(1, 9)] for pick in (min, max)
    )
    assert all(later > earlier for earlier, later in pairwise(shortest[:6]))
    assert 0.5 <= shortest[0] <= longest[0] <= 1
    assert 30 <= shortest[7] <= longest[7] <= 60


def test_after_three_attempts_it_has_failed_and_may_be_retried(people: Tenant, impatient: None) -> None:
    transaction_id = from_alice(people)
    with locked(people.account("users:alice:USD")):
        left = []
        for _ in range(3):
            due_now(transaction_id)
            left.append(post_due(0))

    assert left == [0, 0, 1]
    assert state(transaction_id) == ("failed", 3, 2)
    shown = people.get(f"{URL}/{transaction_id}").json()
    assert shown["error"] == to_builtins(failure_shape("contention", 3))
    assert events_of(transaction_id) == ["transaction.failed"]
    told = json.loads(OutboxEvent.objects.get(type="transaction.failed", data__contains=str(transaction_id)).data)
    assert (told["error"], told["version"], told["entries"]) == (shown["error"], 2, [])
    assert not QueuedPosting.objects.filter(pk=transaction_id).exists()
    steps = people.get(f"{URL}/{transaction_id}/history").json()["data"]
    assert [step["status"] for step in steps] == ["processing", "executing", "failed"]
    assert people.posted(people.account("users:alice:USD")) == 1000
    assert verify(client_id=people.client.pk).holds


def test_what_takes_too_long_is_cancelled_at_the_server_and_the_culprit_alone_counts(
    people: Tenant, settings: Any, others: ThreadPoolExecutor
) -> None:
    settings.TRANSACTION_TIMEOUT = 0.5
    culprit, innocent = from_alice(people), from_carol(people)
    with locked(people.account("users:alice:USD")) as holder:
        begun = time.monotonic()
        round_ = others.submit(in_thread, lambda: post_due(0))
        backend = backend_of_the_poster(holder)
        assert round_.result() == 1
        took_s = time.monotonic() - begun
        still = holder.execute("SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted", [backend]).fetchone()

    assert (took_s < 2, still) == (True, (0,))
    assert state(innocent) == ("completed", 0, 2)
    assert state(culprit) == ("processing", 1, 1)
    for _ in range(2):
        due_now(culprit)
        with locked(people.account("users:alice:USD")):
            post_due(0)
    assert state(culprit) == ("failed", 3, 2)
    assert Transaction.objects.get(pk=culprit).error_code == "timeout"


def test_a_row_that_somebody_holds_keeps_no_other_from_being_posted(
    people: Tenant, impatient: None, others: ThreadPoolExecutor
) -> None:
    """Then not even the attempt can be counted."""
    held, free = from_alice(people), from_carol(people)
    with connect("app") as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT 1 FROM ledger_transaction WHERE id = %s FOR UPDATE", [held])
        round_ = others.submit(in_thread, lambda: post_due(0))
        try:
            assert wait_until(round_.done, timeout_s=7)
        finally:
            holder.execute("COMMIT")
    assert round_.result() == 1
    assert state(free)[0] == "completed"
    assert state(held) == ("processing", 0, 1)
    emptied()
    assert state(held) == ("completed", 0, 2)


def cut_off() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def freeze() -> None:
    """Do nothing for longer than the session may."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('idle_in_transaction_session_timeout', '10ms', true)")
        time.sleep(0.2)
        cursor.execute("SELECT 1")


@pytest.mark.parametrize("part", [cut_off, freeze])
def test_while_the_database_is_away_nobody_s_attempt_is_counted(
    people: Tenant, monkeypatch: pytest.MonkeyPatch, part: Callable[[], None]
) -> None:
    ids = [from_alice(people), from_carol(people)]
    asked = []

    def settle(intents: Any, **_: Any) -> Any:
        asked.append(len(intents))
        part()

    with monkeypatch.context() as patch:
        patch.setattr(posting, "settle", settle)
        with pytest.raises(DatabaseError) as away:
            post_due(0)

    assert asked == [2]
    assert failure_code(away.value) == "dependency_down"
    assert [state(one) for one in ids] == [("processing", 0, 1)] * 2
    assert post_due(0) == 2


def test_a_database_that_goes_away_between_the_round_and_the_single_rows_counts_nobody_s_attempt(
    people: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [from_alice(people), from_carol(people)]
    tries = iter([pg.LockNotAvailable("the round"), pg.AdminShutdown("the first row")])

    def commit(*_: Any) -> int:
        cause = next(tries)
        raise OperationalError(str(cause)) from cause

    with monkeypatch.context() as patch:
        patch.setattr(posting, "_commit", commit)
        with pytest.raises(OperationalError):
            post_due(0)

    assert [state(one) for one in ids] == [("processing", 0, 1)] * 2
    assert post_due(0) == 2


def test_one_that_the_database_refuses_fails_at_once_and_alone(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    culprit, innocent = from_alice(people), from_carol(people)

    def settle(intents: Any, **more: Any) -> Any:
        settled = engine.settle(intents, **more)
        if culprit in {one.id for one in intents}:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
        return settled

    with monkeypatch.context() as patch:
        patch.setattr(posting, "settle", settle)
        assert post_due(0) == 2

    assert state(innocent) == ("completed", 0, 2)
    assert state(culprit) == ("failed", 1, 2)
    assert people.get(f"{URL}/{culprit}").json()["error"]["code"] == "posting_refused"
    assert people.get(f"{URL}/{culprit}").json()["error"]["retryable"] is False
    assert people.posted(people.account("users:alice:USD")) == 1000
    assert verify(client_id=people.client.pk).holds


def test_a_poster_works_in_the_isolation_that_is_asked_for_beside_other_bookings(
    people: Tenant, settings: Any, others: ThreadPoolExecutor
) -> None:
    settings.LEDGER_ISOLATION = "serializable"
    ids = accepted([intent(people, amount_minor=1) for _ in range(60)])

    def book() -> None:
        for _ in range(30):
            while not book_one():
                pass

    def book_one() -> bool:
        with suppress(PostingContended):
            return bool(people.move("users:alice:USD", "users:bob:USD", "0.01"))
        return False

    def post() -> None:
        while QueuedPosting.objects.filter(pk__in=ids).exists():
            post_due(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(posting, "ROUND_SIZE_MAX", 5)
        for one in [others.submit(in_thread, work) for work in (book, book, post)]:
            one.result()

    assert statuses(people) == {"completed": 120}
    assert people.posted(people.account("users:bob:USD")) == 1120
    assert verify(client_id=people.client.pk).holds


def test_a_serializable_poster_that_waited_sees_what_the_other_booked(
    people: Tenant, settings: Any, others: ThreadPoolExecutor
) -> None:
    """It began before the other's commit: its first try conflicts, its second finds too little money."""
    transaction_id = accepted([intent(people, amount_minor=600)])[0]
    with locked(people.account("users:alice:USD")) as holder:
        other = others.submit(in_thread, lambda: people.move("users:alice:USD", "users:bob:USD", "6.00"))
        assert wait_until(lambda: waiting_for_locks() == 1, timeout_s=4)
        settings.LEDGER_ISOLATION = "serializable"
        round_ = others.submit(in_thread, lambda: post_due(0))
        assert wait_until(lambda: waiting_for_locks() == 2, timeout_s=4)
        modes = lock_modes()
        holder.execute("COMMIT")
        assert other.result().transaction.status == "completed"
        assert round_.result() == 1

    assert "SIReadLock" in modes
    assert state(transaction_id) == ("failed", 0, 2)
    assert Transaction.objects.get(pk=transaction_id).error_code == "insufficient_funds"
    assert verify(client_id=people.client.pk).holds


def test_what_is_not_due_is_not_posted(people: Tenant) -> None:
    later = accepted([intent(people, execute_at=now() + timedelta(hours=1))])[0]
    assert post_due(0) == 0
    assert state(later) == ("processing", 0, 1)


def test_a_message_posts_until_nothing_has_been_due_for_a_while(
    people: Tenant, monkeypatch: pytest.MonkeyPatch, others: ThreadPoolExecutor
) -> None:
    monkeypatch.setattr(actors, "IDLE_S", 0.5)
    first = from_alice(people)
    message = others.submit(in_thread, lambda: actors.post_accepted.fn(0))
    assert wait_until(lambda: state(first)[0] == "completed", timeout_s=5)

    second = from_alice(people)

    assert wait_until(lambda: state(second)[0] == "completed", timeout_s=0.4)
    actors.post_accepted.fn(0)  # this process has a poster there: it returns at once
    assert not message.done()
    message.result()


def test_a_round_that_is_not_full_is_followed_by_a_pause_in_which_others_gather(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds, pauses = iter([1, ROUND_SIZE_MAX, 1]), list[float]()
    monkeypatch.setattr(actors, "post_due", lambda _lane: next(rounds, 0))
    monkeypatch.setattr(actors, "is_posting_due", lambda: False)
    monkeypatch.setattr(stopping, "wait", pauses.append)
    monkeypatch.setattr(actors, "ROUND_EVERY_S", 100.0)
    monkeypatch.setattr(actors, "IDLE_S", 0.01)

    actors.post_accepted.fn(0)

    assert [90 < pause <= 100 for pause in pauses[:2]] == [True, True]
    assert pauses[2] == actors.LOOK_AFTER_S


def test_a_message_leaves_a_lane_to_the_poster_of_another_process(people: Tenant) -> None:
    transaction_id = from_alice(people)
    with connect("app") as another:
        another.execute("BEGIN")
        another.execute(LANE)
        actors.post_accepted.fn(0)
        assert state(transaction_id) == ("processing", 0, 1)


def test_the_schedule_pokes_for_what_is_due_and_for_nothing_else(
    people: Tenant, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.POSTING_LANES = 2
    poked = messages_of(actors.post_accepted, monkeypatch)
    later = accepted([intent(people, execute_at=now() + timedelta(hours=1))])[0]
    actors.keep_posting()
    assert poked == []

    due_now(later)
    actors.keep_posting()

    assert poked == [(0,), (1,)]
    assert state(later)[0] == "processing"


def test_while_the_broker_is_away_the_schedule_posts_itself(people: Tenant, no_broker: None) -> None:
    due = from_alice(people)
    actors.keep_posting()
    assert state(due)[0] == "completed"


def test_while_the_broker_is_away_the_schedule_leaves_a_lane_to_its_poster(people: Tenant, no_broker: None) -> None:
    due = from_alice(people)
    with connect("app") as another:
        another.execute("BEGIN")
        another.execute(LANE)
        actors.keep_posting()
        assert state(due) == ("processing", 0, 1)


def test_a_poster_that_cannot_hand_on_ends_in_peace(
    people: Tenant, no_broker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors, "SHIFT_S", 0.0)
    due = from_alice(people)
    actors.post_accepted.fn(0)
    assert state(due)[0] == "completed"


def test_accounts_that_are_busy_beside_one_that_is_stuck_lose_no_attempt(people: Tenant) -> None:
    """bob's account is locked again and again, for an instant each time; frank's is locked for good."""
    people.person("frank", holding="10.00")
    (stuck,) = accepted([intent(people, "users:frank:USD", "users:carol:USD")])
    busy = [from_alice(people) for _ in range(5)]
    stop = Event()

    def keep_busy() -> None:
        while not stop.is_set():
            people.move("users:carol:USD", "users:bob:USD", "0.01")

    with locked(people.account("users:frank:USD")), ThreadPoolExecutor(2) as pool:
        movers = [pool.submit(in_thread, keep_busy) for _ in range(2)]
        for _ in range(3):
            post_due(0)
        stop.set()
        for mover in movers:
            mover.result()

    assert [state(one) for one in busy] == [("completed", 0, 2)] * 5
    assert state(stuck)[0] == "processing"
    emptied()


def test_a_poster_that_is_frozen_gives_its_lane_back(people: Tenant) -> None:
    with transaction.atomic():
        with raw_cursor() as cursor:
            assert try_lane(cursor, 0)
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            assert cursor.fetchall() == [("10s",)]
        transaction.set_rollback(True)


def test_a_row_that_cannot_even_be_read_is_in_nobody_s_way(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    unreadable, fine = accepted([intent(people), intent(people, "users:carol:USD", "users:bob:USD")])
    read = posting._intent

    def read_or_fail(row: Any, accounts: Any) -> Any:
        if row.id == unreadable:
            raise ValueError("a release ago this was another thing")
        return read(row, accounts)

    monkeypatch.setattr(posting, "_intent", read_or_fail)
    post_due(0)

    assert (state(unreadable), state(fine)[0]) == (("processing", 0, 1), "completed")
    assert QueuedPosting.objects.get(pk=unreadable).next_attempt_at > now()
    monkeypatch.undo()
    due_now(unreadable)
    emptied()
    assert state(unreadable)[0] == "completed"


def test_attempts_and_waits_for_locks_are_counted(people: Tenant, impatient: None) -> None:
    def counted() -> tuple[float, float]:
        retries = REGISTRY.get_sample_value("posting_retries_total", {"code": "contention"}) or 0
        return retries, REGISTRY.get_sample_value("posting_lock_wait_seconds_sum") or 0

    from_alice(people)
    retries, waited_s = counted()
    with locked(people.account("users:alice:USD")):
        post_due(0)
    assert counted()[0] == retries + 1
    assert counted()[1] >= waited_s + 0.1


def test_what_was_to_be_executed_later_took_no_longer_than_its_booking(people: Tenant) -> None:
    def took_s() -> float:
        return REGISTRY.get_sample_value("transactions_duration_seconds_sum", {"type": "transfer"}) or 0

    an_hour_ago = UUID(int=uuid7().int - (3_600_000 << 80))
    (later,) = accepted([intent(people, id=an_hour_ago, execute_at=now())])
    before_s = took_s()
    emptied()
    assert state(later)[0] == "completed"
    assert took_s() - before_s < 60


def test_whoever_has_a_lane_or_an_account_and_falls_silent_loses_it(people: Tenant) -> None:
    alice = people.balance(people.account("users:alice:USD")).pk
    statements = {
        "poster": LANE,
        "payer": f"SELECT 1 FROM ledger_balance WHERE account_id = {alice} FOR NO KEY UPDATE",
        "reader": "SELECT 1 FROM ledger_balance",
        "idler": "SELECT 1",
    }
    with ExitStack() as opened:
        sessions = {name: opened.enter_context(closing(connect("app"))) for name in statements}
        for name in ("poster", "payer", "reader"):
            sessions[name].execute("BEGIN")
        # A pipeline that goes on: the server's own clock for idle transactions stands still.
        with suppress(psycopg.OperationalError), sessions["poster"].pipeline():
            for name, statement in statements.items():
                assert sessions[name].execute(statement).fetchone() is not None
            time.sleep(0.3)
            locks.end_frozen_sessions(60)
            before = connected(sessions)

            locks.end_frozen_sessions(0.2)

            assert wait_until(lambda: connected(sessions) == {"reader", "idler"}, timeout_s=4)
    assert before == statements.keys()


def connected(sessions: dict[str, psycopg.Connection]) -> set[str]:
    with connect("app") as app:
        found = {pid for (pid,) in app.execute("SELECT pid FROM pg_stat_activity").fetchall()}
    return {name for name, session in sessions.items() if session.info.backend_pid in found}


def test_an_outcome_is_written_where_its_transaction_stands(people: Tenant) -> None:
    """Otherwise each of them would have to be put into every index again."""

    def updates() -> tuple[int, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_force_next_flush()")
            cursor.execute(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'ledger_transaction'"
            )
            found: tuple[int, int] = cursor.fetchone()
        return found

    emptied()
    accepted([intent(people, amount_minor=1) for _ in range(200)])
    updates()
    before = updates()
    posted = post_due(0)
    assert posted >= 200  # what other tests left in the queue may come due meanwhile
    updates()
    after = updates()
    assert after[0] - before[0] == posted
    assert after[1] - before[1] > 180
