"""Quotas: exact to the token, whoever decides; leases that nobody loses; Redis killed, frozen and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from hypothesis import example, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from redis import Redis

from config.runtime.quota.bucket import TOKEN, Bucket, Quota
from config.runtime.quota.limiter import GIVEN_BACK_EVERY_S, LEASE_US, PATIENCE_US, Limiter
from config.runtime.quota.store import HELD_S, Ended, Store
from config.runtime.redis import redis_client
from tests.config.gcra import Reference
from tests.valkey import Server, connected, until

FREE, STANDARD, INTERNAL = Quota(60, 20), Quota(600, 100), Quota(600_000, 60_000)
SECOND = 1_000_000
START = 1_800_000_000 * SECOND
LOOK_US = round(GIVEN_BACK_EVERY_S * SECOND)

quotas = st.builds(Quota, st.integers(1, 1_000_000), st.integers(1, 200))
steps = st.just(0) | st.integers(0, 2_000) | st.integers(0, 3 * SECOND)
set_back = st.integers(-2 * SECOND, 0) | st.integers(-60 * SECOND, 0)


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    """A client that waits, however busy the machine is: what is done without Redis is another test's."""
    with Redis.from_url(settings.REDIS_URL, protocol=2) as client:
        yield client


@pytest.fixture
def store(redis: Redis) -> Store:
    return Store(redis)


class Machine:
    """Processes on one clock that stands still unless it is moved; each gives back what is over, as it would soon."""

    def __init__(self, redis: Redis, processes: int) -> None:
        self.now = START
        self.limiters = [self.process(redis) for _ in range(processes)]

    def process(self, redis: Redis) -> Limiter:
        return Limiter(
            Store(redis),
            clock=lambda: self.now,
            server_clock=lambda: self.now,
            sleep=lambda seconds: self.pass_by(round(seconds * SECOND)),
            soon=lambda: None,
        )

    def pass_by(self, micros: int) -> None:
        until = self.now + micros
        while self.now < until:
            self.now = min(until, self.now + LOOK_US)
            for limiter in self.limiters:
                limiter.give_back()


@pytest.fixture(scope="module")
def four(redis: Redis) -> Machine:
    """What a fork or the exit of a process has to know of is not made for each example anew."""
    return Machine(redis, processes=4)


def checks(by: str) -> float:
    return REGISTRY.get_sample_value("quota_checks_total", {"by": by}) or 0.0


def admitted(limiter: Limiter, client: UUID, quota: Quota, *, of: int) -> int:
    return sum(limiter.take(client, quota).is_allowed for _ in range(of))


@hypothesis(max_examples=150)
@given(quota=quotas, asked=st.lists(st.tuples(steps | set_back, st.integers(0, 60)), max_size=40))
def test_the_script_judges_as_the_gcra(redis, quota: Quota, asked: list[tuple[int, int]]):
    client, now, reference, store = uuid4(), START, Reference(START), Store(redis)
    store.take(client, quota, 0, now_us=START)

    for step, cost in asked:
        now += step
        assert store.take(client, quota, cost, now_us=now).is_taken == reference.take(quota, cost, now)


@given(quota=quotas, asked=st.lists(st.tuples(steps, st.integers(0, 60))))
def test_the_bucket_of_a_process_judges_as_the_gcra(quota: Quota, asked: list[tuple[int, int]]):
    now, reference, bucket = START, Reference(START), Bucket(at_us=START)

    for step, cost in asked:
        now += step
        assert bucket.take(quota, cost, now) == reference.take(quota, cost, now)


@hypothesis(max_examples=40)
@given(
    quota=st.sampled_from([FREE, STANDARD, Quota(6_000, 1_000), Quota(700, 300)]),
    processes=st.integers(1, 4),
    asked=st.lists(
        st.tuples(st.integers(0, 5_000), st.integers(0, 3), st.integers(0, 2), st.integers(1, 12))
        | st.tuples(st.integers(0, 5_000), st.integers(0, 3), st.integers(1, 10), st.integers(20, 120))
        | st.tuples(steps | st.integers(0, 200_000), st.integers(0, 3), st.integers(0, 30), st.integers(1, 5)),
        max_size=25,
    ),
)
@example(quota=STANDARD, processes=2, asked=[(0, 0, 1, 3), (0, 1, 1, 97), (0, 0, 1, 9)])
def test_processes_with_leases_admit_what_one_gcra_admits(four: Machine, quota: Quota, processes: int, asked):
    """Never more; and less by no more than what comes in while a lease lasts, and until it is given back."""
    client, reference = uuid4(), Reference(four.now)

    for step, who, cost, times in asked:
        four.pass_by(step)
        for _ in range(times):
            if four.limiters[who % processes].take(client, quota, cost).is_allowed:
                assert reference.take(quota, cost, four.now)
            else:
                assert not reference.would_take(quota, cost, four.now, stricter=LEASE_US + LOOK_US)


def test_a_burst_is_let_pass_to_the_token_whoever_is_asked(redis):
    machine, client = Machine(redis, processes=3), uuid4()

    asked = [machine.limiters[number % 3].take(client, STANDARD) for number in range(130)]

    assert sum(verdict.is_allowed for verdict in asked) == 100 + (machine.now - START) * 600 // (60 * SECOND)
    assert [verdict.is_allowed for verdict in asked[:100]] == [True] * 100


def test_far_from_the_limit_redis_is_seldom_asked(redis):
    machine, client, before = Machine(redis, processes=1), uuid4(), checks("redis")

    for _ in range(2_000):
        assert machine.limiters[0].take(client, INTERNAL).is_allowed
        machine.pass_by(1_000)

    # Each tenth of a second, and once more in the beginning.
    assert checks("redis") - before <= 22


def test_who_asks_seldom_borrows_nothing(store: Store, redis):
    machine, client = Machine(redis, processes=1), uuid4()

    for _ in range(10):
        assert machine.limiters[0].take(client, INTERNAL).is_allowed
        assert store.take(client, INTERNAL, 0, now_us=machine.now).held == 0
        machine.pass_by(60_000)


def test_a_quota_has_what_remains_and_when_it_will_be_whole(redis):
    machine, client = Machine(redis, processes=1), uuid4()
    limiter = machine.limiters[0]

    assert limiter.take(client, STANDARD, 10) == (True, 90, 1)
    machine.pass_by(SECOND // 2)
    assert limiter.take(client, STANDARD, 0) == (True, 95, 1)
    assert limiter.take(client, STANDARD, 95) == (True, 0, 10)
    assert limiter.take(client, STANDARD, 31) == (False, 0, 4)
    machine.pass_by(3 * SECOND)
    assert limiter.take(client, STANDARD, 31) == (False, 30, 1)
    machine.pass_by(SECOND // 10)
    assert limiter.take(client, STANDARD, 31) == (True, 0, 10)


def test_two_clients_share_nothing(redis):
    machine, clients = Machine(redis, processes=2), (uuid4(), uuid4())

    for client in clients:
        assert [admitted(limiter, client, FREE, of=30) for limiter in machine.limiters] == [20, 0]


def test_another_tier_counts_from_the_next_request_on(redis):
    limiter, client = Machine(redis, processes=1).limiters[0], uuid4()

    assert admitted(limiter, client, FREE, of=30) == 20
    assert admitted(limiter, client, STANDARD, of=100) == 80
    assert limiter.take(client, FREE) == (False, 0, 81)


def test_what_a_killed_process_has_borrowed_counts_as_spent(store: Store):
    client, now = uuid4(), START
    lent = store.take(client, STANDARD, 1, lease="killed", size=10, now_us=now).lent
    assert lent == 10

    held = store.take(client, STANDARD, 0, now_us=now + round(HELD_S * SECOND) - 1)
    written_off = store.take(client, STANDARD, 0, now_us=now + round(HELD_S * SECOND))

    assert (held.debt, held.held) == (0, 10 * TOKEN)
    assert (written_off.debt, written_off.held) == (10 * TOKEN, 0)
    # Frozen, not killed: it tells when everything has been counted.
    assert store.take(client, STANDARD, 0, ended=[Ended("killed", 3)], now_us=now + SECOND).debt == 5 * TOKEN


def test_nobody_is_refused_for_what_a_living_process_holds_and_does_not_use(redis):
    machine, client = Machine(redis, processes=2), uuid4()
    quiet, busy = machine.limiters
    assert admitted(quiet, client, STANDARD, of=3) == 3
    lent = Store(redis).take(client, STANDARD, 0, now_us=machine.now).held // TOKEN
    assert lent == 10

    assert admitted(busy, client, STANDARD, of=97) == 97


def test_who_is_refused_by_what_a_dead_process_holds_waits_a_moment_and_not_for_ever(redis):
    machine, client = Machine(redis, processes=2), uuid4()
    dead, alive = machine.limiters
    admitted(dead, client, STANDARD, of=3)
    machine.limiters.remove(dead)

    begun = machine.now
    passed = sum(1 for _ in iter(lambda: alive.take(client, STANDARD).is_allowed, False))

    assert 100 - 3 - 10 <= passed <= 100
    assert machine.now - begun <= HELD_S * SECOND + PATIENCE_US


def test_what_a_frozen_process_has_borrowed_is_not_spent_when_it_goes_on(redis):
    machine, client = Machine(redis, processes=2), uuid4()
    frozen, other = machine.limiters
    assert admitted(frozen, client, STANDARD, of=3) == 3

    machine.now += SECOND
    # What was spent has drained; the ten that were lent count from now.
    assert admitted(other, client, STANDARD, of=200) == 90

    assert not frozen.take(client, STANDARD).is_allowed


@pytest.mark.parametrize("step", [-3_600 * SECOND, 3_600 * SECOND])
def test_a_clock_that_steps_gives_at_most_a_burst_and_takes_nothing(redis, step: int):
    machine, client = Machine(redis, processes=2), uuid4()
    one, other = machine.limiters
    assert admitted(one, client, STANDARD, of=60) == 60

    machine.now += step
    passed = admitted(other, client, STANDARD, of=200)

    # What was lent before the step counts as spent: the process cannot be asked at what time.
    assert (35 <= passed <= 40) if step < 0 else (90 <= passed <= 100)
    machine.pass_by(10 * SECOND)
    assert admitted(other, client, STANDARD, of=200) in range(99, 103)


def test_the_server_s_clock_is_used_where_no_other_is_given(store: Store, redis):
    client = uuid4()
    store.take(client, FREE, 20)
    time.sleep(0.05)

    debt, (seconds, micros) = store.take(client, FREE, 0).debt, redis.time()

    assert 15 * TOKEN < debt <= 20 * TOKEN - 60 * 50_000
    assert abs(seconds * SECOND + micros - time.time() * SECOND) < SECOND


def test_a_bucket_is_one_key_that_leaves_when_it_is_empty(store: Store, redis):
    client = uuid4()
    name = f"quota:{{{client}}}"

    store.take(client, FREE, 3, lease="a", size=5)

    assert (redis.type(name), 3_000 < redis.pttl(name) <= 4_000) == (b"string", True)
    assert list(redis.scan_iter(f"*{client}*")) == [name.encode()]


def hammer(quota: Quota, *, lasting_s: float, speed: int = 1) -> tuple[int, int, int, float]:
    """Have three processes of 16 threads ask at one time.

    Return how often they did, were let pass, and asked Redis, and the seconds that passed on their clocks.
    """
    order: dict[str, Any] = {
        "url": settings.REDIS_URL,
        "client": str(uuid4()),
        "quota": [quota.per_minute, quota.burst],
    }
    told_so = json.dumps(order | {"lasting_s": lasting_s, "speed": speed})
    command = [sys.executable, "-m", "tests.config.hammer", told_so]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(3)]
    assert [process.stdout.readline() for process in running if process.stdout] == ["ready\n"] * 3
    begin = time.time() + 0.1
    told = [json.loads(process.communicate(f"{begin}\n", timeout=60)[0]) for process in running]
    assert sum(one["process"] for one in told) == 0
    asked, passed, redis = (sum(one[name] for one in told) for name in ("asked", "passed", "redis"))
    return asked, passed, redis, (max(one["ended"] for one in told) - begin) * speed


def test_sixteen_threads_in_three_processes_are_let_pass_as_the_quota_says_and_no_more():
    """Ten seconds of their clocks, which run four times as fast."""
    asked, passed, _, took_s = hammer(Quota(3_000, 200), lasting_s=2.5, speed=4)

    assert asked > passed
    assert 200 + 500 - 50 <= passed <= 200 + 50 * took_s


def test_far_from_the_limit_all_of_them_are_let_pass_and_redis_is_hardly_asked():
    asked, passed, redis, _ = hammer(INTERNAL, lasting_s=0.5)

    assert passed == asked
    assert redis < asked / 5  # each time a lease is over, up to 16 threads ask


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


@pytest.fixture
def limiter(server: Server) -> Iterator[Limiter]:
    with connected(server) as client:
        yield Limiter(Store(client))


def asks_redis(limiter: Limiter) -> bool:
    before = checks("redis")
    limiter.take(uuid4(), FREE)
    return checks("redis") == before + 1


@pytest.mark.parametrize("stop", [Server.kill, Server.freeze])
def test_while_redis_is_away_a_process_goes_on_alone_with_what_it_knows(
    server: Server, limiter: Limiter, stop: Callable[[Server], None]
):
    client, before = uuid4(), checks("process")
    assert admitted(limiter, client, FREE, of=8) == 8
    stop(server)

    begun = time.monotonic()
    assert admitted(limiter, client, FREE, of=500) == 12
    assert admitted(limiter, uuid4(), FREE, of=500) == 20
    took_s = time.monotonic() - begun

    assert checks("process") - before == 1_000
    assert took_s < 0.9  # one timeout of 0.1 s, and what a thousand calls cost
    refused = limiter.take(client, FREE)
    assert (refused.is_allowed, refused.remaining, refused.reset_s) == (False, 0, 1)


def test_redis_is_asked_again_when_it_is_back(server: Server, limiter: Limiter):
    client = uuid4()
    assert admitted(limiter, client, FREE, of=8) == 8
    server.freeze()
    assert admitted(limiter, client, FREE, of=30) == 12
    server.thaw()

    until(lambda: asks_redis(limiter))

    # There only the eight are known, and the one that Redis was sent before it was frozen.
    assert admitted(limiter, client, FREE, of=30) in range(10, 16)


def test_a_lease_goes_on_while_redis_is_away(server: Server, limiter: Limiter):
    client = uuid4()
    assert admitted(limiter, client, INTERNAL, of=2) == 2
    server.kill()
    before = checks("process")

    assert admitted(limiter, client, INTERNAL, of=50) == 50

    assert checks("process") == before


def test_what_is_stored_and_is_no_bucket_breaks_nobody(redis, store: Store):
    client = uuid4()
    redis.lpush(f"quota:{{{client}}}", "a list")
    redis.expire(f"quota:{{{client}}}", 60)

    assert admitted(Limiter(store), client, FREE, of=30) == 20


def test_a_forked_process_has_none_of_its_parent_s_leases(limiter: Limiter):
    client = uuid4()
    assert admitted(limiter, client, INTERNAL, of=2) == 2
    assert limiter._lent

    child = os.fork()
    if child == 0:
        os._exit(0 if not limiter._lent and not limiter._clients and limiter.take(client, INTERNAL).is_allowed else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_leases_are_given_back_soon_after_they_are_over(limiter: Limiter, server: Server):
    client = uuid4()
    assert admitted(limiter, client, STANDARD, of=3) == 3
    store = Store(redis_client(server.url))
    assert store.take(client, STANDARD, 0).held == 10 * TOKEN

    until(lambda: store.take(client, STANDARD, 0).held == 0)

    assert store.take(client, STANDARD, 0).debt <= 3 * TOKEN
