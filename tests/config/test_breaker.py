"""The circuit breaker: when it opens, who may try again, and that it never stands in the way of a call."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prometheus_client import REGISTRY

from config.runtime.breaker import Breaker, BreakerOpen, BreakerState
from config.runtime.errors import Kind


class Away(Exception):
    pass


class OnlyFull(Away):
    pass


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def breaker_of(clock: Clock, name: str = "test", **options: Any) -> Breaker:
    defaults: dict[str, Any] = {"failures": (Away,), "failures_min": 3, "window_s": 10.0, "open_s": 5.0}
    return Breaker(name, clock=clock, **(defaults | options))


def fail(breaker: Breaker, times: int = 1, error: type[BaseException] = Away) -> None:
    for _ in range(times):
        with pytest.raises(error), breaker.guard():
            raise error


def succeed(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        assert breaker.call(lambda: "answer") == "answer"


def state_of(breaker: Breaker) -> BreakerState:
    return breaker.state


def sample(metric: str, name: str) -> float | None:
    return REGISTRY.get_sample_value(metric, {"name": name})


def test_it_opens_at_the_failure_that_reaches_the_bound_and_not_before(clock):
    breaker = breaker_of(clock)
    fail(breaker, 2)
    assert state_of(breaker) is BreakerState.CLOSED

    fail(breaker)

    assert state_of(breaker) is BreakerState.OPEN


def test_an_open_breaker_refuses_without_calling_and_says_when_to_come_back(clock):
    breaker = breaker_of(clock)
    calls: list[str] = []
    fail(breaker, 3)
    clock.now += 1.5

    with pytest.raises(BreakerOpen) as refused:
        breaker.call(calls.append, "called")

    assert calls == []
    assert (refused.value.kind, refused.value.code) == (Kind.BUSY, "dependency_unavailable")
    assert refused.value.retry_after_s == 4


def test_few_failures_among_many_successes_do_not_open_it(clock):
    breaker = breaker_of(clock)
    succeed(breaker, 10)
    fail(breaker, 9)
    assert state_of(breaker) is BreakerState.CLOSED

    fail(breaker)

    assert state_of(breaker) is BreakerState.OPEN


def test_failures_older_than_the_window_are_forgotten(clock):
    breaker = breaker_of(clock)
    fail(breaker, 2)
    clock.now += 10.0

    fail(breaker, 2)

    assert state_of(breaker) is BreakerState.CLOSED


def test_calls_beyond_the_window_are_forgotten_and_take_no_memory(clock):
    breaker = breaker_of(clock, window_calls=4)
    succeed(breaker, 1000)
    fail(breaker, 2)
    assert state_of(breaker) is BreakerState.CLOSED
    assert len(breaker._calls) == 4

    fail(breaker)

    assert state_of(breaker) is BreakerState.OPEN


def test_a_probe_that_succeeds_closes_it_with_a_clean_slate(clock):
    breaker = breaker_of(clock)
    fail(breaker, 3)
    clock.now += 5.0

    succeed(breaker)

    assert state_of(breaker) is BreakerState.CLOSED
    fail(breaker, 2)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_probe_that_fails_opens_it_for_another_whole_period(clock):
    breaker = breaker_of(clock)
    fail(breaker, 3)
    clock.now += 5.0
    fail(breaker)
    assert state_of(breaker) is BreakerState.OPEN

    clock.now += 4.9
    with pytest.raises(BreakerOpen):
        succeed(breaker)
    clock.now += 0.1
    succeed(breaker)


def test_exactly_one_of_many_threads_becomes_the_probe(clock):
    breaker, threads = breaker_of(clock), 16
    entered: list[int] = []
    fail(breaker, 3)
    clock.now += 5.0
    together, may_end = threading.Barrier(threads), threading.Event()

    def attempt() -> str:
        together.wait(10)
        try:
            with breaker.guard():
                entered.append(threading.get_ident())
                assert may_end.wait(10)
                return "probed"
        except BreakerOpen:
            return "refused"

    with ThreadPoolExecutor(threads) as pool:
        attempts = [pool.submit(attempt) for _ in range(threads)]
        while sum(attempt.done() for attempt in attempts) < threads - 1:
            may_end.wait(0.001)
        assert state_of(breaker) is BreakerState.HALF_OPEN
        may_end.set()

    assert sorted(attempt.result() for attempt in attempts) == ["probed"] + ["refused"] * (threads - 1)
    assert len(entered) == 1
    assert state_of(breaker) is BreakerState.CLOSED


def test_no_lock_is_held_while_a_call_runs(clock):
    breaker, threads = breaker_of(clock), 8
    all_inside = threading.Barrier(threads)

    with ThreadPoolExecutor(threads) as pool:
        arrived = [pool.submit(breaker.call, all_inside.wait, 10) for _ in range(threads)]

    assert sorted(place.result() for place in arrived) == list(range(threads))


def test_a_failure_begun_before_the_opening_does_not_touch_what_came_after(clock):
    breaker = breaker_of(clock)
    slow = breaker.guard()
    slow.__enter__()
    fail(breaker, 3)
    clock.now += 5.0
    succeed(breaker)
    fail(breaker, 2)

    assert slow.__exit__(Away, Away(), None) is False

    assert state_of(breaker) is BreakerState.CLOSED


def test_a_success_begun_before_the_opening_does_not_close_it(clock):
    breaker = breaker_of(clock)
    slow = breaker.guard()
    slow.__enter__()
    fail(breaker, 3)
    clock.now += 5.0
    probe = breaker.guard()
    probe.__enter__()

    slow.__exit__(None, None, None)

    assert state_of(breaker) is BreakerState.HALF_OPEN
    probe.__exit__(None, None, None)
    assert state_of(breaker) is BreakerState.CLOSED


def test_exceptions_that_are_no_failures_pass_and_count_as_answers(clock):
    breaker = breaker_of(clock, spared=(OnlyFull,))

    fail(breaker, 10, ValueError)
    fail(breaker, 10, OnlyFull)

    assert state_of(breaker) is BreakerState.CLOSED


def test_an_interrupted_probe_leaves_the_next_call_to_probe(clock):
    breaker = breaker_of(clock)
    fail(breaker, 3)
    clock.now += 5.0
    fail(breaker, 1, KeyboardInterrupt)
    assert state_of(breaker) is BreakerState.OPEN

    succeed(breaker)

    assert state_of(breaker) is BreakerState.CLOSED


def test_the_state_and_the_refusals_are_exported(clock):
    breaker = breaker_of(clock, "exported")
    assert sample("breaker_state", "exported") == 0
    fail(breaker, 3)
    assert sample("breaker_state", "exported") == 2
    before = sample("breaker_rejections_total", "exported") or 0

    with pytest.raises(BreakerOpen):
        succeed(breaker)

    assert sample("breaker_rejections_total", "exported") == before + 1
    clock.now += 5.0
    with breaker.guard():
        assert sample("breaker_state", "exported") == 1
    assert sample("breaker_state", "exported") == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_process_does_not_wait_for_its_parents_probe(clock):
    breaker = breaker_of(clock)
    fail(breaker, 3)
    clock.now += 5.0

    with breaker.guard():
        assert state_of(breaker) is BreakerState.HALF_OPEN
        child = os.fork()
        if child == 0:
            os._exit(0 if breaker.call(lambda: "answer") == "answer" else 1)
        _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
