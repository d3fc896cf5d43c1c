"""The micro-batcher: every item runs exactly once or never, and its caller knows which."""

import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.runtime import batching, units
from config.runtime.batching import MicroBatcher, NotBegun, OutcomeUnknown, QueueFull, ShuttingDown
from config.runtime.errors import DomainError, Kind
from config.runtime.units import Unit

WAIT_S = 10.0


class Refused(DomainError):
    """The item is refused."""

    kind, code = Kind.CONFLICT, "refused"

    def __init__(self, item: int) -> None:
        super().__init__(f"Item {item} is refused.", item=item)


def at_work() -> AbstractContextManager[None]:
    """Be a unit of work that may yet join a group."""
    return units.entered(Unit("test", request_id="", trace_id="", fields={}))


class Gate:
    """A flush that doubles its items and stays inside until it is let out."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)

    def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.groups.append(list(items))
        self.entered.release()
        assert self.leave.acquire(timeout=WAIT_S)
        return [item * 2 for item in items]


def doubled(items: Sequence[int]) -> Sequence[int | Exception]:
    return [item * 2 for item in items]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


@pytest.fixture
def batchers() -> Iterator[Callable[..., MicroBatcher[int, int]]]:
    made: list[MicroBatcher[int, int]] = []

    def make(flush: Callable[[Sequence[int]], Sequence[int | Exception]], **options: Any) -> MicroBatcher[int, int]:
        made.append(MicroBatcher(name="test", flush=flush, **options))
        return made[-1]

    yield make
    for batcher in made:
        batcher.close(0)


def waiting(batcher: MicroBatcher[int, int], count: int) -> None:
    until(lambda: len(batcher._pending) == count)


def occupy(batcher: MicroBatcher[int, int], gate: Gate, callers: ThreadPoolExecutor) -> Future[int]:
    """Have one item inside the flush, so that what comes next has to wait."""
    first = callers.submit(batcher.submit, 0, timeout_s=WAIT_S)
    assert gate.entered.acquire(timeout=WAIT_S)
    return first


def test_every_item_runs_exactly_once_and_its_answer_reaches_its_own_caller(batchers, callers):
    seen: Counter[int] = Counter()
    sizes: list[int] = []

    def flush(items: Sequence[int]) -> Sequence[int | Exception]:
        seen.update(items)
        return doubled(items)

    batcher = batchers(flush, size_max=7, observe=lambda size, seconds: sizes.append(size))

    def call(caller: int) -> bool:
        items = range(caller * 100, caller * 100 + 100)
        return all(batcher.submit(item, timeout_s=WAIT_S) == item * 2 for item in items)

    assert all(callers.map(call, range(32)))

    assert seen == Counter(range(3200))
    assert batcher.close(WAIT_S)
    assert sum(sizes) == 3200
    assert 1 < max(sizes) <= 7


def test_while_a_flush_runs_the_next_group_gathers_in_order_and_within_bounds(batchers, callers):
    gate = Gate()
    batcher = batchers(gate, size_max=3)
    answers = [occupy(batcher, gate, callers)]
    for item in range(1, 6):
        answers.append(callers.submit(batcher.submit, item, timeout_s=WAIT_S))
        waiting(batcher, item)

    gate.leave.release(3)

    assert [answer.result() for answer in answers] == [0, 2, 4, 6, 8, 10]
    assert gate.groups == [[0], [1, 2, 3], [4, 5]]


def test_a_lone_item_does_not_wait_for_company(batchers):
    batcher = batchers(doubled)
    batcher.submit(1, timeout_s=WAIT_S)

    began = time.monotonic()
    for item in range(100):
        assert batcher.submit(item, timeout_s=WAIT_S) == item * 2

    assert time.monotonic() - began < 1.0


def test_lingering_lets_company_join_and_a_full_group_does_not_linger(batchers, callers):
    gate = Gate()
    gate.leave.release(2)
    batcher = batchers(gate, size_max=2, linger_s=6 * WAIT_S)
    with at_work(), at_work():
        first = callers.submit(batcher.submit, 1, timeout_s=WAIT_S)
        waiting(batcher, 1)
        assert gate.groups == []

        assert batcher.submit(2, timeout_s=WAIT_S) == 4

    assert first.result(WAIT_S) == 2
    assert gate.groups == [[1, 2]]


def test_a_group_that_others_do_not_join_begins_when_it_has_lingered(batchers):
    batcher = batchers(doubled, linger_s=0.05)

    with at_work(), at_work():
        began = time.monotonic()
        assert batcher.submit(21, timeout_s=WAIT_S) == 42

    assert 0.05 <= time.monotonic() - began < 2.0


def test_nobody_lingers_where_nobody_else_is_on_the_way(batchers, callers):
    gate = Gate()
    gate.leave.release(3)
    batcher = batchers(gate, linger_s=6 * WAIT_S)

    def ask(item: int) -> int:
        with at_work():
            answer: int = batcher.submit(item, timeout_s=WAIT_S)
            return answer

    began = time.monotonic()
    answers = [callers.submit(ask, item) for item in range(3)]

    assert sorted(answer.result(WAIT_S) for answer in answers) == [0, 2, 4]
    assert time.monotonic() - began < WAIT_S


def test_an_item_of_its_own_fails_alone(batchers, callers):
    gate = Gate()

    def flush(items: Sequence[int]) -> Sequence[int | Exception]:
        gate(items)
        return [Refused(item) if item % 2 else item * 2 for item in items]

    batcher = batchers(flush)
    occupy(batcher, gate, callers)
    answers = [callers.submit(batcher.submit, item, timeout_s=WAIT_S) for item in (1, 2)]
    waiting(batcher, 2)
    gate.leave.release(2)

    assert answers[1].result(WAIT_S) == 4
    with pytest.raises(Refused) as refused:
        answers[0].result(WAIT_S)
    assert refused.value.fields == {"item": 1}


def test_a_flush_that_raises_gives_every_caller_an_error_of_its_own_and_the_next_group_runs(batchers, callers):
    gate = Gate()

    def flush(items: Sequence[int]) -> Sequence[int | Exception]:
        gate(items)
        if 13 in items:
            raise Refused(13)
        return doubled(items)

    batcher = batchers(flush)
    occupy(batcher, gate, callers)
    answers = [callers.submit(batcher.submit, item, timeout_s=WAIT_S) for item in (12, 13, 14)]
    waiting(batcher, 3)
    gate.leave.release(3)

    errors = [answer.exception(WAIT_S) for answer in answers]
    assert [(type(error), str(error)) for error in errors] == [(Refused, "Item 13 is refused.")] * 3
    assert all(error.fields == {"item": 13} and error.code == "refused" for error in errors)
    assert len({id(error) for error in errors}) == 3
    assert len({id(error.__cause__) for error in errors}) == 1
    assert batcher.submit(5, timeout_s=WAIT_S) == 10


class Unrebuildable(Exception):
    def __new__(cls, number: int, *, unit: str) -> Self:
        return super().__new__(cls, number)

    def __init__(self, number: int, *, unit: str) -> None:
        super().__init__(number)


@pytest.mark.parametrize("error", [OSError(5, "gone"), KeyError("key"), SystemExit(3), Unrebuildable(1, unit="s")])
def test_any_exception_of_the_flush_arrives_with_its_arguments_and_the_thread_lives_on(batchers, error):
    failing = [error]

    def flush(items: Sequence[int]) -> Sequence[int | Exception]:
        if failing:
            raise failing.pop()
        return doubled(items)

    batcher = batchers(flush)

    with pytest.raises(type(error)) as raised:
        batcher.submit(1, timeout_s=WAIT_S)

    assert raised.value.args == error.args
    assert batcher.submit(2, timeout_s=WAIT_S) == 4


def test_outcomes_that_do_not_fit_their_items_are_given_to_nobody(batchers):
    batcher = batchers(lambda items: [1, 2])

    with pytest.raises(OutcomeUnknown, match="1 items went in, 2 outcomes came out"):
        batcher.submit(1, timeout_s=WAIT_S)


def test_an_item_whose_time_passes_before_its_group_is_withdrawn_and_never_runs(batchers, callers):
    gate = Gate()
    batcher = batchers(gate)
    first = occupy(batcher, gate, callers)

    with pytest.raises(NotBegun) as late:
        batcher.submit(7, timeout_s=0.01)
    gate.leave.release(2)

    assert (late.value.kind, late.value.code) == (Kind.BUSY, "not_begun")
    assert first.result(WAIT_S) == 0
    assert batcher.submit(8, timeout_s=WAIT_S) == 16
    assert gate.groups == [[0], [8]]


def test_an_item_that_has_begun_is_waited_for_beyond_its_time(batchers, callers):
    gate = Gate()
    batcher = batchers(gate)
    late = callers.submit(batcher.submit, 4, timeout_s=0.3)
    assert gate.entered.acquire(timeout=WAIT_S)

    time.sleep(0.4)
    assert not late.done()

    gate.leave.release()

    assert late.result(WAIT_S) == 8


def test_the_outcome_of_a_group_that_hangs_is_unknown_and_the_batcher_goes_on(batchers):
    gate = Gate()
    batcher = batchers(gate, group_timeout_s=0.1)

    with pytest.raises(OutcomeUnknown) as unknown:
        batcher.submit(1, timeout_s=0.05)

    assert (unknown.value.kind, unknown.value.code) == (Kind.BUSY, "outcome_unknown")
    gate.leave.release(2)
    assert batcher.submit(2, timeout_s=WAIT_S) == 4
    assert gate.groups == [[1], [2]]


def test_a_full_queue_refuses_at_once_and_has_room_again_when_an_item_withdraws(batchers, callers):
    gate = Gate()
    batcher = batchers(gate, pending_max=2)
    occupy(batcher, gate, callers)
    patient = callers.submit(batcher.submit, 1, timeout_s=WAIT_S)
    waiting(batcher, 1)
    hasty = callers.submit(batcher.submit, 2, timeout_s=0.1)
    waiting(batcher, 2)

    with pytest.raises(QueueFull) as full:
        batcher.submit(3, timeout_s=WAIT_S)

    assert (full.value.kind, full.value.code) == (Kind.BUSY, "queue_full")
    assert isinstance(hasty.exception(WAIT_S), NotBegun)
    last = callers.submit(batcher.submit, 4, timeout_s=WAIT_S)
    waiting(batcher, 2)
    gate.leave.release(2)
    assert (patient.result(WAIT_S), last.result(WAIT_S)) == (2, 8)
    assert gate.groups == [[0], [1, 4]]


def test_closing_flushes_what_waits_refuses_what_comes_and_ends_the_thread(batchers, callers):
    gate = Gate()
    batcher = batchers(gate, size_max=2, linger_s=6 * WAIT_S)
    with at_work(), at_work(), at_work():
        answers = [callers.submit(batcher.submit, item, timeout_s=WAIT_S) for item in range(2)]
        assert gate.entered.acquire(timeout=WAIT_S)
        answers.append(callers.submit(batcher.submit, 2, timeout_s=WAIT_S))
        waiting(batcher, 1)
    closing = callers.submit(batcher.close, WAIT_S)
    until(lambda: batcher._closing)

    with pytest.raises(ShuttingDown) as refused:
        batcher.submit(9, timeout_s=WAIT_S)
    gate.leave.release(2)

    assert (refused.value.kind, refused.value.code) == (Kind.BUSY, "shutting_down")
    assert closing.result(WAIT_S) is True
    assert sorted(answer.result(WAIT_S) for answer in answers) == [0, 2, 4]
    assert sorted(gate.groups[0]) == [0, 1]
    assert gate.groups[1:] == [[2]]
    assert batcher.close(0) is True


def test_closing_all_flushes_what_waits_in_each_and_says_whether_it_could(batchers, callers, monkeypatch):
    gate = Gate()
    busy, quick, unused = batchers(gate), batchers(doubled), batchers(doubled)
    monkeypatch.setattr(batching, "_batchers", weakref.WeakSet([busy, quick, unused]))
    answers = [occupy(busy, gate, callers), callers.submit(busy.submit, 1, timeout_s=WAIT_S)]
    waiting(busy, 1)
    assert quick.submit(3, timeout_s=WAIT_S) == 6

    assert batching.close_all(0.05) is False
    for batcher in (busy, quick, unused):
        with pytest.raises(ShuttingDown):
            batcher.submit(9, timeout_s=WAIT_S)
    gate.leave.release(2)

    assert batching.close_all(WAIT_S) is True
    assert [answer.result(WAIT_S) for answer in answers] == [0, 2]


def test_closing_in_vain_says_so(batchers, callers):
    gate = Gate()
    batcher = batchers(gate)
    occupy(batcher, gate, callers)

    assert batcher.close(0.01) is False

    gate.leave.release()
    assert batcher.close(WAIT_S) is True


def test_a_batcher_that_was_never_used_has_no_thread_and_closes_at_once(batchers):
    before = threading.active_count()
    batcher = batchers(doubled)

    assert batcher.close(0) is True
    assert threading.active_count() == before


def test_an_observer_that_fails_harms_nobody(batchers, caplog):
    def observe(size: int, seconds: float) -> None:
        raise ZeroDivisionError

    batcher = batchers(doubled, observe=observe)

    assert [batcher.submit(item, timeout_s=WAIT_S) for item in (1, 2, 3)] == [2, 4, 6]
    assert batcher.close(WAIT_S)
    assert caplog.text.count("The observer of batcher test failed.") == 3


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_process_starts_a_thread_of_its_own_and_runs_nothing_of_its_parents(batchers, callers):
    gate = Gate()
    batcher = batchers(gate)
    first = occupy(batcher, gate, callers)
    second = callers.submit(batcher.submit, 1, timeout_s=WAIT_S)
    waiting(batcher, 1)

    child = os.fork()
    if child == 0:
        gate.leave.release()
        right = batcher.submit(5, timeout_s=WAIT_S) == 10 and gate.groups == [[0], [5]]
        os._exit(0 if right else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    gate.leave.release(2)
    assert (first.result(WAIT_S), second.result(WAIT_S)) == (0, 2)
    assert gate.groups == [[0], [1]]


@settings(max_examples=25)
@given(
    timeouts_us=st.lists(st.integers(0, 400), min_size=8, max_size=60),
    flush_us=st.integers(0, 200),
    size_max=st.integers(1, 8),
)
def test_not_begun_means_never_run_and_an_answer_means_run_once(timeouts_us, flush_us, size_max):
    ran: list[int] = []

    def flush(items: Sequence[int]) -> Sequence[int | Exception]:
        time.sleep(flush_us / 1e6)
        ran.extend(items)
        return doubled(items)

    batcher: MicroBatcher[int, int] = MicroBatcher(name="race", flush=flush, size_max=size_max)

    def call(item: int) -> bool:
        try:
            return batcher.submit(item, timeout_s=timeouts_us[item] / 1e6) == item * 2
        except NotBegun:
            return False

    with ThreadPoolExecutor(8) as pool:
        answered = [item for item, done in enumerate(pool.map(call, range(len(timeouts_us)))) if done]
    assert batcher.close(WAIT_S)

    assert Counter(ran) == Counter(answered)
