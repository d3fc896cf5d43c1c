"""What the worker does for the ledger. Messages are pokes: the work stands in tables (design §4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
from django.conf import settings
from redis.exceptions import ConnectionError as RedisConnectionError

from config.runtime import stopping
from config.runtime.logging import get_logger
from config.runtime.nudge import Nudge
from ledger.services.batch_turns import is_batch_due, post_due_batch
from ledger.services.posting import LaneTaken, count_due, is_posting_due, post_due

# A poster stays a while after its last row: whoever accepts the next need not wake it, and nobody waits for a message.
IDLE_S = 10.0
LOOK_AFTER_S, LOOK_AFTER_S_MAX = 0.005, 0.05
# Long enough to be rare, short enough that a message never comes near its time limit.
SHIFT_S = 30.0
WAKE_EVERY_S = 0.5

log = get_logger()

_lanes_at_work: set[int] = set()
_lock = threading.Lock()


@dramatiq.actor(queue_name="posting", max_retries=0, max_age=60_000, time_limit=600_000)
def post_accepted(lane: int) -> None:
    """Post what is due in a lane, until nothing has been due for a while; another poster there does it instead."""
    with _alone(lane) as is_alone:
        is_over = is_alone and _post_for_a_shift(lane)
    if is_over:
        post_accepted.send(lane)


def _post_for_a_shift(lane: int) -> bool:
    """Work until nothing has been due for a while; return whether the time was over before."""
    begun = idle_since = time.monotonic()
    pause_s, is_busy = LOOK_AFTER_S, True
    try:
        while not stopping.stopping() and time.monotonic() - idle_since < IDLE_S:
            # To ask first costs less than a round in vain, and more than it saves where there is work.
            is_busy = (is_busy or is_posting_due()) and post_due(lane) > 0
            if is_busy:
                idle_since, pause_s = time.monotonic(), LOOK_AFTER_S
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


def poke_posters() -> None:
    """Have posted what is due, if anything is: the schedule's second way, where a message or a worker was lost."""
    if count_due():
        _send()
    if is_batch_due():
        _send_batches()


@dramatiq.actor(queue_name="batches", max_retries=0, max_age=60_000, time_limit=600_000)
def post_batches() -> None:
    """Give batches their turns until none is due; several may do so at once, each with a batch of its own."""
    begun = time.monotonic()
    while not stopping.stopping() and post_due_batch():
        if time.monotonic() - begun > SHIFT_S:
            post_batches.send()
            return


def wake_batch_posters() -> None:
    """Have a batch that was stored posted soon. Costs its caller no call to the broker, and fails never."""
    _wake_batches()


@contextmanager
def _alone(lane: int) -> Iterator[bool]:
    """Tell whether this thread may work in a lane: a second one of the process would only take a thread away."""
    with _lock:
        is_alone = lane not in _lanes_at_work
        _lanes_at_work.add(lane)
    try:
        yield is_alone
    finally:
        if is_alone:
            _lanes_at_work.discard(lane)


def _send() -> None:
    try:
        for lane in range(settings.POSTING_LANES):
            post_accepted.send(lane)
    except RedisConnectionError as error:
        log.warning("posting.not_poked", error=str(error))  # the schedule pokes every second


def _send_batches() -> None:
    try:
        post_batches.send()
    except RedisConnectionError as error:
        log.warning("batches.not_poked", error=str(error))  # the schedule pokes every second


_wake = Nudge("posting", _send, every_s=WAKE_EVERY_S)
_wake_batches = Nudge("batches", _send_batches, every_s=WAKE_EVERY_S)
