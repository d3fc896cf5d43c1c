"""Take messages from a broker's topics and have each its effect once; what nobody can handle becomes a dead letter.

What has come together is handled in one commit, together with the rows that say so; where that fails, message by
message. One that another attempt may mend is tried again with growing pauses; meanwhile those of its key wait behind
it, and nobody else. What a broker is told is done has its effect or its dead letter already: killed at any point, a
consumer is told again what it had in hand, and the rows tell what of that has had its effect.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db import DatabaseError, transaction

from config.runtime import metrics
from config.runtime.backoff import backoff
from config.runtime.database import is_down, release_connections
from config.runtime.errors import DomainError, Kind
from config.runtime.logging import get_logger
from config.runtime.tracing import well_formed_traceparent
from ledger.events.dead_letters import Letter, record_dead_letters
from ledger.events.envelopes import is_ours
from ledger.events.failures import ATTEMPTS_MAX, failure_code, failure_text
from ledger.events.inbound import Inbound, attributes_of, read_message
from ledger.events.processed import mark_processed
from ledger.events.transports.base import Received, Source, TransportAway

BATCH_SIZE = 500
# With so much in hand that waits for another attempt, no more is taken.
IN_HAND_MAX, IN_HAND_BYTES_MAX = 2_000, 64 << 20
POLL_S = 0.25
AWAY_S, AWAY_S_MAX = 0.1, 5.0
# Another attempt mends neither a value that a column does not take, nor a contradiction, nor SQL of ours.
_FINAL_STATES = ("22", "23", "42")

log = get_logger()


class Binding(NamedTuple):
    """Whose messages of a topic these are, and the name of their source, which makes their ids keys."""

    topic: str
    client_id: int
    source: str

    @property
    def consumer(self) -> str:
        """The name under which messages of the topic have had their effect, or are dead letters."""
        return f"inbound:{self.topic}"


# Handles messages in one database transaction, in which it calls the note with what it refuses, by index.
Note = Callable[[Mapping[int, DomainError]], None]
Handler = Callable[[Binding, Sequence[Inbound], Note], None]


class Bound(NamedTuple):
    """A topic's binding, and who handles what comes."""

    binding: Binding
    handle: Handler


@dataclass(slots=True, eq=False)
class InHand:
    """A message that has come and is not done with; `due` is of the monotonic clock."""

    received: Received
    inbound: Inbound | None
    refusal: DomainError | None = None
    attempts: int = 0
    due: float = 0.0

    @property
    def place(self) -> tuple[str, str]:
        return self.received.topic, self.received.key

    @property
    def is_ours(self) -> bool:
        return self.inbound is not None and is_ours(self.inbound.source)


@dataclass
class Consumer:
    """One member of a group: takes from a source, handles, and says what is done."""

    source: Source
    bound: Mapping[str, Bound]
    _in_hand: list[InHand] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        """Consume until `stop`; survive the broker and the database being away, and a dead letter being refused."""
        away_s = AWAY_S
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
        self.source.close()

    def consume(self, *, timeout_s: float) -> int:
        """Handle what comes within `timeout_s` and what is due again; return how many messages are done with.

        Raises:
            TransportAway, DatabaseError: the broker or the database is away; what is in hand stays there.
        """
        room = self._room()
        if room > 0:
            self._in_hand += map(_read, self.source.poll(size=room, timeout_s=0.0 if self._is_due() else timeout_s))
        else:
            time.sleep(0.0 if self._is_due() else timeout_s)
        begun = len(self._in_hand)
        for topic, bound in self.bound.items():
            self._work(bound, [one for one in self._in_hand if one.received.topic == topic])
        return begun - len(self._in_hand)

    def _room(self) -> int:
        size_bytes = sum(len(one.received.value) for one in self._in_hand)
        return min(BATCH_SIZE, IN_HAND_MAX - len(self._in_hand)) if size_bytes < IN_HAND_BYTES_MAX else 0

    def _is_due(self) -> bool:
        fresh, again = _ready(self._in_hand)
        return bool(fresh or again)

    def _work(self, bound: Bound, in_hand: Sequence[InHand]) -> None:
        ours = [one for one in in_hand if one.is_ours]
        metrics.INBOUND_MESSAGES.labels(bound.binding.topic, "own").inc(len(ours))
        self._done(ours)
        for one in in_hand:
            if one.refusal is not None:
                self._bury(bound.binding, one, one.refusal)
        fresh, again = _ready(one for one in in_hand if one.refusal is None and not one.is_ours)
        for one in again:
            self._try(bound, one)
        if fresh:
            self._handle(bound, fresh)

    def _handle(self, bound: Bound, ready: Sequence[InHand]) -> None:
        """Handle what has come; where that fails, each alone, and none after one of its key that failed."""
        try:
            self._commit(bound, ready)
        except Exception as error:
            if is_down(error):
                raise
            failed = set[tuple[str, str]]()
            for one in ready:
                if one.place not in failed and not self._try(bound, one) and one.received.key:
                    failed.add(one.place)
        else:
            self._done(ready)

    def _try(self, bound: Bound, one: InHand) -> bool:
        """Handle one message alone; tell whether it is done with."""
        try:
            self._commit(bound, [one])
        except Exception as error:
            if is_down(error):
                raise
            return self._failed(bound.binding, one, error)
        self._done([one])
        return True

    def _failed(self, binding: Binding, one: InHand, error: Exception) -> bool:
        one.attempts += 1
        log.warning("consumer.failed", topic=binding.topic, attempts=one.attempts, code=failure_code(error))
        if not _may_pass(error) or one.attempts >= ATTEMPTS_MAX:
            self._bury(binding, one, error)
            return True
        metrics.INBOUND_MESSAGES.labels(binding.topic, "retried").inc()
        one.due = time.monotonic() + backoff(one.attempts).total_seconds()
        return False

    def _commit(self, bound: Bound, ready: Sequence[InHand]) -> None:
        """Handle messages in one commit, with the rows that say so and the dead letters of what is refused."""
        binding, events = bound.binding, [one.inbound for one in ready if one.inbound is not None]
        counted = dict.fromkeys(("done", "duplicate", "dead"), 0)

        def note(refusals: Mapping[int, DomainError]) -> None:
            keys = [event_key(event) for event in events]
            fresh = mark_processed(binding.consumer, keys)
            # What came twice at once is one letter, of where it came first.
            refused = {keys[index]: index for index in sorted(refusals, reverse=True) if keys[index] in fresh}
            letters = [
                letter_of(binding, ready[index], refusals[index], attempts=ready[index].attempts + 1)
                for index in refused.values()
            ]
            record_dead_letters(letters)
            counted.update(done=len(fresh) - len(letters), duplicate=len(events) - len(fresh), dead=len(letters))

        bound.handle(binding, events, note)
        for outcome, count in counted.items():
            metrics.INBOUND_MESSAGES.labels(binding.topic, outcome).inc(count)
        metrics.EVENTS_DUPLICATE.labels(binding.consumer).inc(counted["duplicate"])

    def _bury(self, binding: Binding, one: InHand, error: Exception) -> None:
        letter = letter_of(binding, one, error, attempts=max(1, one.attempts))
        with transaction.atomic(durable=True):
            is_new = one.inbound is None or mark_processed(binding.consumer, [event_key(one.inbound)])
            if is_new:
                record_dead_letters([letter])
        metrics.INBOUND_MESSAGES.labels(binding.topic, "dead" if is_new else "duplicate").inc()
        self._done([one])

    def _done(self, ready: Sequence[InHand]) -> None:
        if ready:
            done = set(map(id, ready))
            self._in_hand = [one for one in self._in_hand if id(one) not in done]
            self.source.done([one.received for one in ready])


def event_key(inbound: Inbound) -> str:
    """Return what a message is known by among all of its topic."""
    return f"{inbound.source} {inbound.id}"


def letter_of(binding: Binding, one: InHand, error: Exception, *, attempts: int) -> Letter:
    """Return the dead letter of a message that cannot be handled."""
    received, attributes = one.received, attributes_of(one.received.headers)
    return Letter(
        consumer=binding.consumer,
        client_id=binding.client_id,
        topic=received.topic,
        partition=received.partition,
        offset=received.offset,
        key=received.key,
        headers=received.headers,
        body=received.value,
        event_id=one.inbound.id if one.inbound else attributes.get("id", ""),
        error_code=failure_code(error),
        error=failure_text(error),
        attempts=attempts,
        trace=one.inbound.trace if one.inbound else well_formed_traceparent(attributes.get("traceparent", "")),
    )


def _read(received: Received) -> InHand:
    try:
        return InHand(received, read_message(received))
    except DomainError as refusal:
        return InHand(received, None, refusal)


def _ready(in_hand: Iterable[InHand]) -> tuple[list[InHand], list[InHand]]:
    """Return what has just come and what is due again; nothing that waits behind an earlier one of its key."""
    fresh, again, blocked, now = list[InHand](), list[InHand](), set[tuple[str, str]](), time.monotonic()
    for one in in_hand:
        if one.place in blocked:
            continue
        if not one.attempts:
            fresh.append(one)
            continue
        if one.due <= now:
            again.append(one)
        if one.received.key:
            blocked.add(one.place)
    return fresh, again


def _may_pass(error: Exception) -> bool:
    """Tell whether another attempt may go better: after locks, conflicts, timeouts, and what nobody has thought of."""
    if isinstance(error, DomainError):
        return error.kind in (Kind.BUSY, Kind.INTERNAL, Kind.LIMITED)
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    return not str(getattr(cause, "sqlstate", None) or "").startswith(_FINAL_STATES)
