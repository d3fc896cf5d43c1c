"""What happens in a storm, and when: first kills, then what Redis can do to us, then kills again."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from benchmarks.procs import children, wait_until
from benchmarks.storm.ground import Ground

KINDS = 5
KILL_EVERY_S = 2.5
# Shares of the whole: when the faults of Redis begin, and how long one of them lasts.
REDIS_FROM, REDIS_EACH = 0.45, 0.06
# A frozen server is noticed by timeouts: it must last for longer than they do.
FROZEN_S_MIN = 3.0
CALM_WITHIN_S, CALM_ANSWERS = 30.0, 50


class Interval(NamedTuple):
    """One fault of Redis, in seconds of the monotonic clock, from its beginning to a while after its end."""

    what: str
    begun: float
    ended: float


class Director:
    """Makes the faults, one after the other."""

    def __init__(self, ground: Ground, seconds: float, *, answered: Callable[[], int]) -> None:
        self._ground, self._seconds, self._answered = ground, seconds, answered
        self._random = random.Random()
        self.done: Counter[str] = Counter()
        self.redis: list[Interval] = []
        self.last = "calm"

    def run(self) -> None:
        begun = time.monotonic()
        self._kill_until(begun + REDIS_FROM * self._seconds, at_least=KINDS)
        self._wait_for_calm()
        self._trouble_redis()
        self._kill_until(begun + self._seconds, at_least=0)

    def _wait_for_calm(self) -> None:
        """Wait until the last kill is over: what follows is for Redis to answer for."""
        before = self._answered()
        wait_until(lambda: self._answered() >= before + CALM_ANSWERS, timeout_s=CALM_WITHIN_S, what="calm")

    def _kill_until(self, end: float, *, at_least: int) -> None:
        """Kill something every few seconds, everything in turn and in an order of chance; so often in any case."""
        kills = {
            "web worker": self._kill_web_worker,
            "web": lambda: self._kill("web"),
            "worker": lambda: self._kill("worker"),
            "relay": lambda: self._kill("relay"),
            "postgres": self._kill_postgres,
        }
        names = list(kills)
        for turn in itertools.count():
            if turn % len(names) == 0:
                self._random.shuffle(names)
            time.sleep(self._random.uniform(0.5, 1.0) * min(KILL_EVERY_S, self._seconds / 8))
            if turn >= at_least and time.monotonic() > end:
                return
            self._do(names[turn % len(names)], kills[names[turn % len(names)]])

    def _trouble_redis(self) -> None:
        share_s = REDIS_EACH * self._seconds
        for what, begin, end in (
            ("stopped", lambda: self._ground.kill_server("valkey"), lambda: self._ground.restart_server("valkey")),
            ("frozen", lambda: self._signal_valkey(signal.SIGSTOP), lambda: self._signal_valkey(signal.SIGCONT)),
            ("flushed", self._flush, lambda: None),
        ):
            begun = time.monotonic()
            self._do(f"redis {what}", begin)
            time.sleep(max(share_s, FROZEN_S_MIN) if what == "frozen" else share_s)
            end()
            time.sleep(share_s / 2)
            self.redis.append(Interval(what, begun, time.monotonic()))

    def _do(self, what: str, fault: Callable[[], None]) -> None:
        self.last = what
        fault()
        self.done[what] += 1

    def _kill(self, role: str) -> None:
        self._ground.processes[role].kill()
        self._ground.processes[role].start()

    def _kill_web_worker(self) -> None:
        """Kill one of those that answer; the server puts another in its place.

        The oldest: where one dies that has just been put there, the server gives up, and nobody here starts it anew.
        """
        workers = children(self._ground.processes["web"].pid)
        if workers:
            with suppress(ProcessLookupError):
                os.kill(min(workers), signal.SIGKILL)

    def _kill_postgres(self) -> None:
        self._ground.kill_server("postgres")
        self._ground.restart_server("postgres")

    def _signal_valkey(self, number: signal.Signals) -> None:
        os.kill(self._ground.server("valkey").process.pid, number)

    def _flush(self) -> None:
        with self._ground.redis() as client:
            client.flushall()
