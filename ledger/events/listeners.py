"""Listeners: functions that write rows because something happened, each event once.

A listener is called with events in their order, inside a database transaction together with the rows that say it has
had them. It only writes rows: who talks to the network is an actor. Where it raises, everything of that window is
parked and handed to it one by one. The event that it cannot take is tried `ATTEMPTS_MAX` times and then becomes a dead
letter; meanwhile those of the same key wait behind it, and nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from config.runtime import metrics
from config.runtime.arrays import numbers, uuids
from config.runtime.backoff import backoff
from config.runtime.database import is_down, raw_cursor
from config.runtime.logging import get_logger
from ledger.events.dead_letters import letter_of_event, record_dead_letters
from ledger.events.failures import ATTEMPTS_MAX, failure_code, failure_text
from ledger.events.processed import mark_processed
from ledger.events.stream import Event, LaneLost, Window, advance, load_event

# With more than this parked the listener waits with everything.
PARKED_MAX = 10_000
# So many keys are tried again in a row, and so many events of each.
KEYS_AT_ONCE, EVENTS_AT_ONCE = 100, 100

Listener = Callable[[Sequence[Event]], None]

_PARK = """
INSERT INTO events_parked (follower, key, position, lane, attempts, next_attempt_at, error_code, error)
SELECT %(follower)s, key, position, events_lane(key), 0, clock_timestamp(), '', ''
FROM unnest(%(keys)s::uuid[], %(positions)s::bigint[]) AS waiting (key, position)
ON CONFLICT DO NOTHING
"""
# The keys whose first event is due.
_DUE = """
SELECT key
FROM (
    SELECT DISTINCT ON (key) key, position, next_attempt_at
    FROM events_parked
    WHERE follower = %(follower)s AND lane = ANY(%(lanes)s::smallint[])
    ORDER BY key, position
) first
WHERE next_attempt_at <= clock_timestamp()
ORDER BY position
LIMIT %(size)s
"""
_PARKED = """
SELECT position
FROM events_parked
WHERE follower = %(follower)s AND key = %(key)s
ORDER BY position
LIMIT %(size)s
"""
_COUNT = "SELECT count(*) FROM (SELECT FROM events_parked WHERE follower = %(follower)s LIMIT %(max)s) parked"
_TAKEN = "DELETE FROM events_parked WHERE follower = %(follower)s AND key = %(key)s AND position = %(position)s"
_FAILED = """
UPDATE events_parked
SET attempts = attempts + 1, error_code = %(code)s, error = %(error)s
WHERE follower = %(follower)s AND key = %(key)s AND position = %(position)s
RETURNING attempts
"""
_LATER = """
UPDATE events_parked
SET next_attempt_at = clock_timestamp() + %(pause)s
WHERE follower = %(follower)s AND key = %(key)s AND position = %(position)s
"""

log = get_logger()


class ListenerFollower(NamedTuple):
    """Hands events to one listener."""

    name: str
    listener: Listener

    def can_go_on(self) -> bool:
        """Tell whether there is room for what may have to wait."""
        with raw_cursor() as cursor:
            row = cursor.execute(_COUNT, {"follower": self.name, "max": PARKED_MAX}).fetchone()
        return row is not None and row[0] < PARKED_MAX

    def take(self, window: Window) -> None:
        """Have the listener take a window's events, or park them; what waits behind parked ones is parked at once."""
        try:
            with transaction.atomic(durable=True):
                self._park([event for event in window.events if event.waits])
                self.call([event for event in window.events if not event.waits])
                advance(self.name, window)
        except Exception as error:
            if is_down(error) or isinstance(error, LaneLost):
                raise
            log.warning("listener.failed", listener=self.name, code=failure_code(error), error=failure_text(error))
            with transaction.atomic(durable=True):
                self._park(window.events)
                advance(self.name, window)

    def take_parked(self, lanes: Collection[int]) -> int:
        """Try again what is due of what is parked, and what waits behind it; return how many events left."""
        with raw_cursor() as cursor:
            asked = {"follower": self.name, "lanes": numbers(lanes), "size": KEYS_AT_ONCE}
            keys = [row[0] for row in cursor.execute(_DUE, asked)]
        return sum(self._take_key(key) for key in keys)

    def take_again(self, event: Event) -> None:
        """Hand an event to the listener that it could not take. Call inside a database transaction."""
        self.call([event])

    def call(self, events: Sequence[Event]) -> None:
        """Hand events to the listener, but for those that it has had. Call inside a database transaction.

        Raises:
            DatabaseError: the listener has left the transaction so that it cannot be committed.
        """
        fresh = mark_processed(self.name, [str(event.id) for event in events]) if events else set()
        metrics.EVENTS_DUPLICATE.labels(self.name).inc(len(events) - len(fresh))
        if fresh:
            self.listener([event for event in events if str(event.id) in fresh])
            # A listener that has caught what broke its transaction would have it rolled back without a word.
            with raw_cursor() as cursor:
                cursor.execute("SELECT 1")

    def _take_key(self, key: UUID) -> int:
        with raw_cursor() as cursor:
            asked = {"follower": self.name, "key": key, "size": EVENTS_AT_ONCE}
            positions = [row[0] for row in cursor.execute(_PARKED, asked)]
        for count, position in enumerate(positions):
            if not self._take_one(key, position):
                return count
        return len(positions)

    def _take_one(self, key: UUID, position: int) -> bool:
        """Try one parked event; tell whether the next of its key may follow."""
        event, parked = load_event(position), {"follower": self.name, "key": key, "position": position}
        if event is None:
            log.error("listener.event_not_kept", listener=self.name, position=position)
        try:
            with transaction.atomic(durable=True), raw_cursor() as cursor:
                cursor.execute(_TAKEN, parked)
                if event is not None and cursor.rowcount:
                    self.call([event])
        except Exception as error:
            if is_down(error):
                raise
            assert event is not None
            return self._fail(event, parked, error)
        return True

    def _fail(self, event: Event, parked: dict[str, object], error: Exception) -> bool:
        code, text = failure_code(error), failure_text(error)
        with transaction.atomic(durable=True), raw_cursor() as cursor:
            row = cursor.execute(_FAILED, parked | {"code": code, "error": text}).fetchone()
            attempts = row[0] if row else 0
            is_dead = attempts >= ATTEMPTS_MAX
            if is_dead:
                record_dead_letters([letter_of_event(self.name, event, code=code, error=text, attempts=attempts)])
                cursor.execute(_TAKEN, parked)
            else:
                cursor.execute(_LATER, parked | {"pause": backoff(max(1, attempts))})
        log.warning("listener.failed", listener=self.name, event_id=str(event.id), attempts=attempts, code=code)
        return is_dead

    def _park(self, events: Sequence[Event]) -> None:
        if events:
            keys, positions = uuids(event.key for event in events), numbers(event.position for event in events)
            with raw_cursor() as cursor:
                cursor.execute(_PARK, {"follower": self.name, "keys": keys, "positions": positions})
