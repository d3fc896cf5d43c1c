"""Take messages from a broker's topics and have each its effect once; what nobody can handle becomes a dead letter.

What a broker is told is done has its effect or its dead letter already, or is parked: killed at any point, a consumer
is told again what it had in hand, and the rows tell what of that has had its effect.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db import DatabaseError

from config.runtime.database import release_connections
from config.runtime.logging import get_logger
from ledger.events import parking
from ledger.events.handling import Handling
from ledger.events.in_hand import Bound, InHand, read
from ledger.events.staying import Staying
from ledger.events.transports.base import Source, TransportAway

BATCH_SIZE = 500
POLL_S = 0.25
# Who finds nothing parked looks again after this; others may have parked something.
LOOK_EVERY_S = 0.25
# What is parked is tried for so long in a row; then the broker is asked for more.
PARKED_S = 1.0
AWAY_S, AWAY_S_MAX = 0.1, 5.0

log = get_logger()


@dataclass
class Consumer:
    """One member of a group: takes from a source, handles, and says what is done."""

    source: Source
    bound: Mapping[str, Bound]
    _in_hand: list[InHand] = field(default_factory=list)
    _finished: list[InHand] = field(default_factory=list)
    _look_at: float = 0.0
    _is_full: bool = False
    _is_late: bool = False

    def __post_init__(self) -> None:
        self._staying = Staying(self.source)
        self._handlings = {topic: Handling(bound, done=self._done) for topic, bound in self.bound.items()}

    def run(self, stop: threading.Event) -> None:
        """Consume until `stop`; survive the broker and the database being away, and a dead letter being refused."""
        away_s, over = AWAY_S, threading.Event()
        watch = threading.Thread(target=self._staying.watch, args=(over,), name="staying", daemon=True)
        watch.start()
        log.info("consumer.ready", topics=list(self.bound))
        while not stop.is_set():
            try:
                self.consume(timeout_s=POLL_S)
                away_s = AWAY_S
            except (TransportAway, DatabaseError) as error:
                log.warning("consumer.away", error=str(error))
                stop.wait(away_s)
                away_s = min(2 * away_s, AWAY_S_MAX)
            finally:
                release_connections()
        over.set()
        watch.join()
        self.source.close()

    def consume(self, *, timeout_s: float) -> int:
        """Handle what comes within `timeout_s` and what is parked and due; return how many need not come again.

        Raises:
            TransportAway, DatabaseError: the broker or the database is away; what is in hand stays there.
        """
        if self._in_hand:
            self.source.stay()
        else:
            self._in_hand = self._poll(timeout_s)
        try:
            with self._staying:
                for topic, handling in self._handlings.items():
                    handling.work([one for one in self._in_hand if one.received.topic == topic])
        finally:
            count = self._tell()
        with self._staying:
            self._work_parked()
        return count

    def _poll(self, timeout_s: float) -> list[InHand]:
        timeout_s = 0.0 if self._is_late else timeout_s
        if self._is_full:
            self.source.stay()
            time.sleep(timeout_s)
            return []
        return [read(received) for received in self.source.poll(size=BATCH_SIZE, timeout_s=timeout_s)]

    def _tell(self) -> int:
        """Tell the broker what need not come again, though what else was in hand has to wait."""
        finished, self._finished = self._finished, []
        if finished:
            self.source.done([one.received for one in finished])
        return len(finished)

    def _work_parked(self) -> None:
        """Try what is parked and due, whoever has parked it."""
        if time.monotonic() < self._look_at and not any(one.has_parked for one in self._handlings.values()):
            return
        until = time.monotonic() + PARKED_S
        counts = {topic: handling.work_parked(until=until) for topic, handling in self._handlings.items()}
        self._is_late = time.monotonic() >= until
        self._look_at = time.monotonic() + LOOK_EVERY_S
        was_full, self._is_full = self._is_full, max(counts.values(), default=0) >= parking.PARKED_MAX
        if self._is_full and not was_full:
            log.error("consumer.full", parked=counts)

    def _done(self, ready: Sequence[InHand]) -> None:
        done = set(map(id, ready))
        self._in_hand = [one for one in self._in_hand if id(one) not in done]
        self._finished += ready
