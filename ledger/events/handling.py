"""Handle the messages of one topic: those that came together in one commit, each alone where that fails.

One that another attempt may mend is parked, tried again with growing pauses, and those of its key are parked behind it;
nobody else waits. What its process dies of is found out when it comes again (ledger/events/suspects.py): it is parked
and tried alone, its attempts counted before they are made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from django.db import DatabaseError, transaction

from config.runtime import metrics
from config.runtime.backoff import backoff
from config.runtime.database import is_down
from config.runtime.errors import DomainError, Kind
from config.runtime.logging import get_logger
from ledger.events import parking
from ledger.events.dead_letters import record_dead_letters
from ledger.events.failures import ATTEMPTS_MAX, failure_code
from ledger.events.in_hand import Bound, InHand, letter_of, read
from ledger.events.ours import own_sources
from ledger.events.parking import Begun, Waiting, queue_of
from ledger.events.processed import mark_processed, processed_among
from ledger.events.suspects import clear_suspects, note_suspects

# Tried with others where its process died, and once before that, or it would not have come again.
SUSPECT_ATTEMPTS = 2
# Another attempt mends neither a value that a column does not take, nor a contradiction, nor SQL of ours.
_FINAL_STATES = ("22", "23", "42")

log = get_logger()
# What dies of one parked message is not to have had another in hand: consumers of one process take turns.
_alone = threading.Lock()


class ProcessDied(DomainError):
    """The process that handled the message died, at every attempt."""

    kind, code = Kind.INTERNAL, "process_died"


class Handling:
    """Handles what comes in one topic, and what of it is parked.

    `done` is told of messages that came and need not come again: they have had their effect, are dead letters, or are
    parked.
    """

    def __init__(self, bound: Bound, *, done: Callable[[Sequence[InHand]], None]) -> None:
        self._binding, self._handler = bound
        self._tell_done = done
        self._uncounted: set[int] = set()
        self.has_parked = True
        """Whether something may be parked, as far as we know."""

    def work(self, in_hand: Sequence[InHand]) -> None:
        """Handle what has come. After a database error the same may come again.

        Raises:
            DatabaseError: the database is away, or a dead letter could not be written.
        """
        if not in_hand:
            return
        own = own_sources(one.inbound.source for one in in_hand if one.inbound is not None)
        ours = [one for one in in_hand if one.inbound is not None and one.inbound.source in own]
        metrics.INBOUND_MESSAGES.labels(self._binding.topic, "own").inc(len(ours))
        self._done(ours)
        for one in in_hand:
            if one.refusal is not None:
                self._bury(one, one.refusal)
        passed = {id(one) for one in ours}
        ready = self._pass_over([one for one in in_hand if one.refusal is None and id(one) not in passed])
        if ready := self._let_wait(ready):
            self._handle(ready)

    def _pass_over(self, ready: Sequence[InHand]) -> list[InHand]:
        """Be done with what was given again and has had its effect, or is a letter of what somebody died of."""
        again = [one for one in ready if one.received.is_again]
        found = processed_among(self._binding.consumer, _keys(again)) if again else set()
        had = {id(one): one for one in again if one.event_key in found}
        metrics.INBOUND_MESSAGES.labels(self._binding.topic, "duplicate").inc(len(had))
        metrics.EVENTS_DUPLICATE.labels(self._binding.consumer).inc(len(had))
        self._done(list(had.values()))
        return [one for one in ready if id(one) not in had]

    def _let_wait(self, ready: Sequence[InHand]) -> list[InHand]:
        """Park what somebody may have died of, and what comes behind what is parked; return the rest."""
        again = [one for one in ready if one.received.is_again]
        if not again and not self.has_parked:
            return list(ready)
        suspects = self._suspects([one for one in again if not one.is_noted])
        queues = parking.occupied(self._binding.consumer, {queue_of(one.received) for one in ready})
        waiting, rest = list[InHand](), list[InHand]()
        for one in ready:
            queue = queue_of(one.received)
            if id(one) in suspects:
                one.attempts = SUSPECT_ATTEMPTS
                queues.add(queue)
            (waiting if queue in queues else rest).append(one)
        self._park(waiting)
        return rest

    def _suspects(self, again: Sequence[InHand]) -> set[int]:
        if not again:
            return set()
        fresh = note_suspects(self._binding.consumer, _keys(again))
        for one in again:
            one.is_noted = True
        return {id(one) for one, key in zip(again, _keys(again), strict=True) if key not in fresh}

    def _handle(self, ready: Sequence[InHand]) -> None:
        """Handle what has come; where that fails, each alone, and none after one of its key that failed."""
        try:
            self._commit(ready)
        except Exception as error:
            if is_down(error):
                raise
            failed, behind = set[UUID](), list[InHand]()
            for one in ready:
                queue = queue_of(one.received)
                if queue in failed:
                    behind.append(one)
                elif not self._try(one):
                    failed.add(queue)
            self._park(behind)
        else:
            self._done(ready)

    def _try(self, one: InHand) -> bool:
        """Handle one message alone; tell whether it is done with."""
        try:
            self._commit([one])
        except Exception as error:
            if is_down(error):
                raise
            return self._failed(one, error)
        self._done([one])
        return True

    def _failed(self, one: InHand, error: Exception) -> bool:
        one.attempts = max(1, one.attempts)
        log.warning("consumer.failed", topic=self._binding.topic, attempts=one.attempts, code=failure_code(error))
        if not _may_pass(error) or one.attempts >= ATTEMPTS_MAX:
            self._bury(one, error)
            return True
        metrics.INBOUND_MESSAGES.labels(self._binding.topic, "retried").inc()
        pause = backoff(one.attempts)
        if one.parked_id is None:
            self._park([one], pause=pause)
        else:
            parking.try_later(one.parked_id, pause)
        return False

    def _commit(self, ready: Sequence[InHand]) -> None:
        """Handle messages in one commit, with the rows that say so and the dead letters of what is refused."""
        events = [one.inbound for one in ready if one.inbound is not None]
        counted = dict.fromkeys(("done", "duplicate", "dead"), 0)

        def note(refusals: Mapping[int, DomainError]) -> None:
            keys = [one.event_key for one in ready]
            fresh = mark_processed(self._binding.consumer, keys)
            # What came twice at once is one letter, of where it came first.
            refused = {keys[index]: index for index in sorted(refusals, reverse=True) if keys[index] in fresh}
            letters = [
                letter_of(self._binding, ready[index], refusals[index], attempts=max(1, ready[index].attempts))
                for index in refused.values()
            ]
            record_dead_letters(letters)
            self._strike(ready)
            counted.update(done=len(fresh) - len(letters), duplicate=len(events) - len(fresh), dead=len(letters))

        self._handler(self._binding, events, note)
        for outcome, count in counted.items():
            metrics.INBOUND_MESSAGES.labels(self._binding.topic, outcome).inc(count)
        metrics.EVENTS_DUPLICATE.labels(self._binding.consumer).inc(counted["duplicate"])

    def work_parked(self, *, until: float) -> int:
        """Try what is due, beginning nothing after `until` of the monotonic clock; return how many are parked.

        Raises:
            DatabaseError: as for `work`; what was tried when the database went away has not been tried.
        """
        if self._uncounted:
            parking.uncount(self._uncounted)
            self._uncounted.clear()
        consumer = self._binding.consumer
        count = parking.count_parked(consumer)
        for queue in parking.due(consumer) if count else ():
            while time.monotonic() < until and self._try_parked(queue):
                count -= 1
        metrics.INBOUND_PARKED.labels(self._binding.topic).set(count)
        self.has_parked = count > 0
        return count

    def _try_parked(self, queue: UUID) -> bool:
        """Try the first message of a queue; tell whether the next may follow."""
        if not _alone.acquire(blocking=False):
            return False
        try:
            begun = parking.begin(self._binding.consumer, queue)
            return begun is not None and self._try_begun(begun)
        finally:
            _alone.release()

    def _try_begun(self, begun: Begun) -> bool:
        one = read(begun.received)
        one.parked_id, one.attempts = begun.id, min(begun.attempts, ATTEMPTS_MAX)
        if one.refusal is not None or begun.attempts > ATTEMPTS_MAX or self._is_processed(one):
            self._bury(one, one.refusal or ProcessDied())
            return True
        try:
            return self._try(one)
        except Exception as error:
            if is_down(error):
                self._uncounted.add(begun.id)
            raise

    def _park(self, waiting: Sequence[InHand], *, pause: timedelta = timedelta(0)) -> None:
        if not waiting:
            return
        with transaction.atomic(durable=True):
            parking.park(self._binding.consumer, [Waiting(one.received, one.attempts, pause) for one in waiting])
            self._strike(waiting)
        self.has_parked = True
        self._done(waiting)

    def _bury(self, one: InHand, error: Exception) -> None:
        letter = letter_of(self._binding, one, error, attempts=max(1, one.attempts))
        with transaction.atomic(durable=True):
            is_new = one.inbound is None or mark_processed(self._binding.consumer, [one.event_key])
            if is_new:
                record_dead_letters([letter])
            self._strike([one])
        metrics.INBOUND_MESSAGES.labels(self._binding.topic, "dead" if is_new else "duplicate").inc()
        self._done([one])

    def _strike(self, ready: Sequence[InHand]) -> None:
        """Have messages no longer parked and no longer suspect; those that came for the first time are neither."""
        if noted := _keys([one for one in ready if one.is_noted]):
            clear_suspects(self._binding.consumer, noted)
        if parked := [one.parked_id for one in ready if one.parked_id is not None]:
            parking.leave(parked)

    def _is_processed(self, one: InHand) -> bool:
        return one.inbound is not None and one.event_key in processed_among(self._binding.consumer, [one.event_key])

    def _done(self, ready: Sequence[InHand]) -> None:
        if came := [one for one in ready if one.parked_id is None]:
            self._tell_done(came)


def _keys(noted: Sequence[InHand]) -> list[str]:
    return [one.event_key for one in noted if one.inbound is not None]


def _may_pass(error: Exception) -> bool:
    """Tell whether another attempt may go better: after locks, conflicts, timeouts, and what nobody has thought of."""
    if isinstance(error, DomainError):
        return error.kind in (Kind.BUSY, Kind.INTERNAL, Kind.LIMITED)
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    return not str(getattr(cause, "sqlstate", None) or "").startswith(_FINAL_STATES)
