"""Statuses while others move them, and while Redis is away: never false, never older than a second, never backwards."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from django.db import connections

from config.localstack.processes import wait_until
from config.runtime.errors import NotFound
from config.runtime.redis import OPEN_S, TIMEOUT_S, GuardedRedis
from ledger.status import tracker as tracker_module
from ledger.status.shape import Key, Seen, StatusShape
from ledger.status.store import Store
from ledger.status.tracker import SIZE_MAX, StatusTracker, StatusUnsettled
from tests.ledger.locks import in_thread
from tests.ledger.statuses import accept, answered_by, copied_books, made_up, move, stored, version_in
from tests.people import Tenant
from tests.valkey import Server, connected

STORM_S = float(os.environ.get("STORM_S", "10")) / 4


@pytest.fixture(scope="module")
def books(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A copy of the books, for all tests here."""
    with django_db_blocker.unblock(), copied_books():
        yield


@pytest.fixture
def db(books: None) -> Iterator[None]:
    """Let a test use the copy."""
    yield
    connections.close_all()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A Redis of this test's own."""
    with Server(tmp_path) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[GuardedRedis]:
    with connected(server) as client:
        yield client


@pytest.fixture
def accepted(bank: Tenant) -> UUID:
    """The id of a transaction that waits to be posted: version 1."""
    bank.person("alice", holding="5.00")
    return accept(bank)


def process(client: GuardedRedis, *, interval_s: float = 1.0, size_max: int = SIZE_MAX) -> StatusTracker:
    return StatusTracker(client, interval_s=interval_s, ttl_s=300.0, size_max=size_max)


class Slow:
    """The reading of a database that takes its time: `meanwhile` happens after it has read, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], Any]) -> None:
        self.read, self.meanwhile, self.times = tracker_module._read, meanwhile, 0
        monkeypatch.setattr(tracker_module, "_read", self)

    def __call__(self, key: Key) -> Seen | None:
        found = self.read(key)
        self.times += 1
        if self.times == 1:
            self.meanwhile()
        return found


def test_a_slow_reader_shows_no_lower_version_than_was_shown(
    bank: Tenant, client: GuardedRedis, accepted: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, versions = process(client), list[int]()

    def overtake() -> None:
        begun_at = time.monotonic()
        here.announce([(bank.client.pk, move(accepted, "completed"))], begun_at=begun_at)
        versions.append(here.look_up(bank.client.pk, accepted).version)

    slow = Slow(monkeypatch, overtake)
    versions.append(here.look_up(bank.client.pk, accepted).version)
    assert (versions, slow.times) == ([2, 2], 1)


def test_a_slow_reader_looks_again_where_what_was_shown_is_too_old(
    bank: Tenant, client: GuardedRedis, accepted: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, key = process(client), (bank.client.pk, accepted)

    def overtake() -> None:
        move(accepted, "completed")
        # What memory knows of it stays a second after it was learnt, but was true for the last time before that.
        here._memory.learn(key, Seen(stored(accepted), time.monotonic() - 1.1))
        move(accepted, "reversed")

    slow = Slow(monkeypatch, overtake)
    assert here.look_up(*key) == stored(accepted)
    assert (here.look_up(*key).version, slow.times) == (3, 2)


def test_a_slow_reader_looks_again_where_what_was_shown_has_left_memory(
    bank: Tenant, client: GuardedRedis, accepted: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, versions = process(client, size_max=1), list[int]()

    def overtake() -> None:
        begun_at = time.monotonic()
        here.announce([(bank.client.pk, move(accepted, "completed"))], begun_at=begun_at)
        versions.append(here.look_up(bank.client.pk, accepted).version)
        here.announce([(bank.client.pk, made_up())], begun_at=time.monotonic())

    slow = Slow(monkeypatch, overtake)
    versions.append(here.look_up(bank.client.pk, accepted).version)
    assert (versions, slow.times) == ([2, 2], 2)


def test_what_was_announced_while_the_database_was_read_exists(
    bank: Tenant, client: GuardedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, shape = process(client), made_up()
    Slow(monkeypatch, lambda: here.announce([(bank.client.pk, shape)], begun_at=time.monotonic()))
    assert here.look_up(bank.client.pk, shape.id) == shape
    with pytest.raises(NotFound):
        here.look_up(bank.client.pk + 1, shape.id)


def test_a_lower_version_in_redis_is_not_shown_after_a_higher_one(
    bank: Tenant, client: GuardedRedis, accepted: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, key, versions = process(client), (bank.client.pk, accepted), list[int]()
    here._store.write([(key, Seen(stored(accepted), time.monotonic()))])
    read = here._store.read

    def slowly(key: Key) -> Seen | None:
        found = read(key)
        begun_at = time.monotonic()
        here.announce([(bank.client.pk, move(accepted, "completed"))], begun_at=begun_at)
        versions.append(here.look_up(*key).version)
        versions.append(0 if found is None else found.shape.version)
        return found

    monkeypatch.setattr(here._store, "read", slowly)
    versions.append(here.look_up(*key).version)
    assert versions == [2, 1, 2]


def test_an_old_reading_is_read_again_and_refused_in_the_end(
    bank: Tenant, client: GuardedRedis, accepted: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, read, ages = process(client), tracker_module._read, [2.0, 2.0, 0.0]

    def late(key: Key) -> Seen | None:
        found = read(key)
        assert found is not None
        return Seen(found.shape, found.since - (ages.pop(0) if ages else 2.0))

    monkeypatch.setattr(tracker_module, "_read", late)
    assert here.look_up(bank.client.pk, accepted) == stored(accepted)
    monkeypatch.setattr(tracker_module._tracker, "_memory", process(client)._memory)
    monkeypatch.setattr(tracker_module._tracker, "_store", Store(client))
    time.sleep(1.0)
    with pytest.raises(StatusUnsettled):
        process(client).look_up(bank.client.pk, accepted)
    answer = bank.get(f"/v2/transactions/{accepted}/status")
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "dependency_unavailable", "1")


class Told(NamedTuple):
    """One answer: which process gave it, when it was asked for and when it came."""

    process: int
    asked_at: float
    answered_at: float
    shape: StatusShape


def test_in_a_storm_every_answer_was_true_a_second_ago_and_no_process_goes_back(
    bank: Tenant, client: GuardedRedis, accepted: UUID
) -> None:
    """A mover commits and announces, sometimes late, in one of three processes; six threads ask; Redis is flushed."""
    chance, over, told = random.Random(7), threading.Event(), list[Told]()
    processes = [process(client) for _ in range(3)]
    moves = [(1, 0.0, 0.0, stored(accepted))]  # version, before and after its commit

    def ask(number: int) -> None:
        here = processes[number % 3]
        while not over.is_set():
            asked_at = time.monotonic()
            shape = here.look_up(bank.client.pk, accepted)
            told.append(Told(number % 3, asked_at, time.monotonic(), shape))
            time.sleep(0.001)

    def keep_moving() -> None:
        while not over.is_set():
            begun_at = time.monotonic()
            shape = move(accepted, "processing" if len(moves) % 2 == 0 else "failed")
            moves.append((shape.version, begun_at, time.monotonic(), shape))
            time.sleep(chance.choice([0.0, 0.0, 0.01, 0.3]))
            if chance.random() < 0.8:
                chance.choice(processes).announce([(bank.client.pk, shape)], begun_at=begun_at)
            time.sleep(chance.choice([0.0, 0.005, 0.05, 0.4]))
            if chance.random() < 0.1:
                client.flushall()

    with ThreadPoolExecutor(7) as pool:
        running = [pool.submit(in_thread, partial(ask, number)) for number in range(6)]
        running.append(pool.submit(in_thread, keep_moving))
        time.sleep(STORM_S)
        over.set()
        for one in running:
            one.result(30)
    assert len({one.shape.version for one in told}) > 3
    check(told, {version: (begun, done, shape) for version, begun, done, shape in moves})


def check(told: list[Told], moves: dict[int, tuple[float, float, StatusShape]]) -> None:
    """Assert of each answer that it was true, when it was, and that a process asked later knew as much."""
    for one in told:
        begun_at, _, shape = moves[one.shape.version]
        assert one.shape == shape
        assert begun_at <= one.answered_at
        replaced = moves.get(one.shape.version + 1)
        assert replaced is None or one.asked_at <= replaced[1] + 1.0
    for number in range(3):
        highest, ended = 0, sorted((one for one in told if one.process == number), key=lambda one: one.answered_at)
        at = 0
        for one in sorted(ended, key=lambda one: one.asked_at):
            while ended[at].answered_at < one.asked_at:
                highest = max(highest, ended[at].shape.version)
                at += 1
            assert one.shape.version >= highest


def test_a_frozen_redis_that_wakes_makes_nothing_younger(
    bank: Tenant, server: Server, client: GuardedRedis, accepted: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was sent while it was frozen it carries out when it wakes."""
    here, key = process(client), (bank.client.pk, accepted)
    before = Seen(stored(accepted), time.monotonic())
    after = move(accepted, "completed")
    tell_time = client.time

    def freeze() -> Any:
        told = tell_time()
        server.freeze()
        return told

    here._store.write([((bank.client.pk, made_up().id), before)])  # the server knows the script now
    monkeypatch.setattr(client, "time", freeze)
    here._store.write([(key, before)])
    time.sleep(1.1)
    server.thaw()
    assert wait_until(lambda: version_in(process(client), bank, accepted) == 1, 5)
    assert process(client).look_up(*key) == after


@pytest.fixture
def on_its_redis(client: GuardedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the API of this process use the test's own Redis."""
    monkeypatch.setattr(tracker_module._tracker, "_store", Store(client))
    monkeypatch.setattr(tracker_module._tracker._writer, "_write", Store(client).write)


@pytest.mark.usefixtures("on_its_redis")
@pytest.mark.parametrize("outage", ["killed", "frozen"])
def test_without_redis_answers_are_right_and_cost_one_timeout(
    bank: Tenant, server: Server, client: GuardedRedis, accepted: UUID, outage: str
) -> None:
    there, url = process(client, interval_s=0.0), f"/v2/transactions/{accepted}/status"
    assert bank.get(url).json()["version"] == 1
    server.kill() if outage == "killed" else server.freeze()

    begun_at = time.monotonic()
    after = move(accepted, "completed")
    there.announce([(bank.client.pk, made_up()) for _ in range(1000)], begun_at=begun_at)
    assert there.look_up(bank.client.pk, accepted) == after
    for _ in range(50):
        assert there.look_up(bank.client.pk, accepted) == after
    took_s = time.monotonic() - begun_at
    assert took_s < 1.0  # the writer's timeout, the reader's, and fifty readings of the database
    time.sleep(max(0.0, 1.0 - took_s))
    answers = [bank.get(url) for _ in range(3)]
    assert [(answer.status_code, answer.json()["version"]) for answer in answers] == [(200, 2)] * 3

    server.start() if outage == "killed" else server.thaw()
    time.sleep(OPEN_S + TIMEOUT_S)
    final = move(accepted, "reversed")
    assert there.look_up(bank.client.pk, accepted) == final
    assert wait_until(lambda: version_in(process(client), bank, accepted) == 3, 5)
    with answered_by(redis=1):
        assert process(client).look_up(bank.client.pk, accepted) == final


def test_many_at_once_in_an_outage_wait_no_longer_than_one(
    bank: Tenant, server: Server, client: GuardedRedis, accepted: UUID
) -> None:
    here = process(client, interval_s=0.0)
    here.look_up(bank.client.pk, accepted)
    server.freeze()

    def ask() -> float:
        begun_at = time.monotonic()
        assert here.look_up(bank.client.pk, accepted).version == 1
        return time.monotonic() - begun_at

    with ThreadPoolExecutor(8) as pool:
        took_s = [one.result(10) for one in [pool.submit(in_thread, ask) for _ in range(8)]]
    assert max(took_s) < 1.0


@pytest.mark.parametrize("loss", ["flushed", "restarted", "without its scripts"])
def test_a_redis_that_forgot_is_filled_again(
    bank: Tenant, server: Server, client: GuardedRedis, accepted: UUID, loss: str
) -> None:
    final, key = move(accepted, "pending", "voided"), (bank.client.pk, accepted)
    first = process(client)
    first.look_up(*key)
    assert wait_until(lambda: version_in(first, bank, accepted) == 3, 5)
    if loss == "restarted":
        server.kill()
        server.start()
    else:
        client.flushall()
        client.script_flush() if loss == "without its scripts" else None

    second = process(client)
    with answered_by(database=1):
        assert second.look_up(*key) == final
    time.sleep(OPEN_S + TIMEOUT_S if loss == "restarted" else 0.0)
    process(client).look_up(*key)
    assert wait_until(lambda: version_in(process(client), bank, accepted) == 3, 5)
    with answered_by(redis=1):
        assert process(client).look_up(*key) == final


def test_a_child_of_a_process_begins_with_nothing(client: GuardedRedis) -> None:
    here = process(client)
    here.announce([(1, made_up())], begun_at=time.monotonic())
    with here._memory._lock:  # as another thread of the parent may
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a child that hangs ends, and nothing of it but this runs
            signal.alarm(10)
            known = len(here._memory)
            here.announce([(1, made_up())], begun_at=time.monotonic())
            here._writer.flush()
            os._exit(10 * known + len(here._memory))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
