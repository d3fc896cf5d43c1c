"""What the worker does for the ledger. Messages are pokes: the work stands in tables (design §4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
from django.conf import settings
from dramatiq.errors import BrokerConnectionError
from redis.exceptions import ConnectionError as RedisConnectionError

from config.runtime import stopping
from config.runtime.logging import get_logger
from config.runtime.nudge import Nudge
from ledger.services.batches.turns import is_batch_due, post_due_batch
from ledger.services.posting import ROUND_SIZE_MAX, LaneTaken, count_due, is_posting_due, post_due

# A poster stays a while after its last row: whoever accepts the next need not wake it, and nobody waits for a message.
IDLE_S = 10.0
LOOK_AFTER_S, LOOK_AFTER_S_MAX = 0.005, 0.05
# A round costs the same for one row as for twenty, in the worker and in the database: while there is work, the next one
# begins so long after the last began, with what has come meanwhile. What fills a round does not wait.
ROUND_EVERY_S = 0.05
# Long enough to be rare, short enough that a message never comes near its time limit.
SHIFT_S = 30.0
WAKE_EVERY_S = 0.5

log = get_logger()

_at_work = set[str]()
_lock = threading.Lock()


@dramatiq.actor(queue_name="posting", max_retries=0, max_age=60_000, time_limit=600_000)
def post_accepted(lane: int) -> None:
    """Post what is due in a lane, until nothing has been due for a while; another poster there does it instead."""
    with _alone(f"lane {lane}") as is_alone:
        is_over = is_alone and _post_for_a_shift(lane)
    if is_over:
        _sent(post_accepted, lane)


def _post_for_a_shift(lane: int) -> bool:
    """Work until nothing has been due for a while; return whether the time was over before."""
    begun = idle_since = time.monotonic()
    pause_s, is_busy = LOOK_AFTER_S, True
    try:
        while not stopping.stopping() and time.monotonic() - idle_since < IDLE_S:
            # To ask first costs less than a round in vain, and more than it saves where there is work.
            round_begun = time.monotonic()
            posted = post_due(lane) if is_busy or is_posting_due() else 0
            is_busy = posted > 0
            if is_busy:
                idle_since, pause_s = time.monotonic(), LOOK_AFTER_S
                if posted < ROUND_SIZE_MAX:
                    stopping.wait(max(0.0, round_begun + ROUND_EVERY_S - idle_since))
            else:
                stopping.wait(pause_s)
                pause_s = min(LOOK_AFTER_S_MAX, 2 * pause_s)
            if time.monotonic() - begun > SHIFT_S:
                return True
    except LaneTaken:
        pass  # another process does it
    return False


def wake_posters() -> None:
    """Have something that was accepted posted soon. Costs its caller no call to the broker, and fails never."""
    _wake()


def wake_batch_posters() -> None:
    """Have a batch that was stored posted soon. Costs its caller no call to the broker, and fails never."""
    _wake_batches()


@dramatiq.actor(queue_name="batches", max_retries=0, max_age=60_000, time_limit=600_000)
def post_batches() -> None:
    """Give batches their turns until none is due; another process may do so too, at a batch of its own."""
    begun = time.monotonic()
    with _alone("batches") as is_alone:
        while is_alone and not stopping.stopping() and post_due_batch():
            if time.monotonic() - begun > SHIFT_S:
                break
        else:
            return
    _sent(post_batches)


def keep_posting() -> None:
    """Have posted what is due, if anything is: the schedule's second way, where a message or a worker was lost.

    While the broker is away no message wakes a worker: then the work is done here, for a shift.
    """
    if not poke_posters():
        _post_here()


def poke_posters() -> bool:
    """Wake the posters of what is due, if anything is; return whether the broker took it."""
    is_poked = not count_due() or _poke_lanes()
    return (not is_batch_due() or _poke_batches()) and is_poked


def _post_here() -> None:
    begun = time.monotonic()
    while not stopping.stopping() and time.monotonic() - begun < SHIFT_S:
        if not sum(map(_posted_in, range(settings.POSTING_LANES))) + post_due_batch():
            return


def _posted_in(lane: int) -> int:
    try:
        return post_due(lane)
    except LaneTaken:
        return 0  # a worker is at it, and heard of it before the broker went away


@contextmanager
def _alone(work: str) -> Iterator[bool]:
    """Tell whether this thread is the process's only one at some work: a second would but take a thread away."""
    with _lock:
        is_alone = work not in _at_work
        _at_work.add(work)
    try:
        yield is_alone
    finally:
        if is_alone:
            _at_work.discard(work)


def _poke_lanes() -> bool:
    return all(_sent(post_accepted, lane) for lane in range(settings.POSTING_LANES))


def _poke_batches() -> bool:
    return _sent(post_batches)


def _sent(actor: dramatiq.Actor[..., None], *arguments: int) -> bool:
    try:
        actor.send(*arguments)
    except (RedisConnectionError, BrokerConnectionError) as error:
        log.warning("posting.not_poked", actor=actor.actor_name, error=str(error))  # the schedule looks every second
        return False
    return True


_wake = Nudge("posting", _poke_lanes, every_s=WAKE_EVERY_S)
_wake_batches = Nudge("batches", _poke_batches, every_s=WAKE_EVERY_S)
