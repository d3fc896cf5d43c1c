"""Messages that wait for another attempt, with those of their key behind them: kept here, so that their broker need
not give them again, and nothing else waits for them.

Of each key only the first is tried. An attempt is counted before it is made, in a commit of its own: one that kills
its process has been counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.conf import settings

from config.runtime.arrays import blobs, numbers, texts, uuids
from config.runtime.database import raw_cursor
from ledger.events.transports.base import Received

# With more than this parked of a topic no more is taken from its brokers.
PARKED_MAX = 20_000
# An attempt that has not ended so long after TRANSACTION_TIMEOUT was that of a process that has died: another is made.
LEASE_S = 30
QUEUES_AT_ONCE = 100
# Of one statement, which sends two characters for a byte.
STATEMENT_BYTES_MAX = 8 << 20

_PARK = """
INSERT INTO events_parkedmessage (consumer, queue, place, message, attempts, next_attempt_at)
SELECT %(consumer)s, queue, place, message, attempts, clock_timestamp() + pause_s * interval '1 second'
FROM unnest(
    %(queues)s::uuid[], %(places)s::text[], %(messages)s::bytea[], %(attempts)s::smallint[], %(pauses_s)s::float8[]
) WITH ORDINALITY AS waiting (queue, place, message, attempts, pause_s, number)
ORDER BY number
ON CONFLICT DO NOTHING
"""
_OCCUPIED = """
SELECT DISTINCT queue
FROM events_parkedmessage
WHERE consumer = %(consumer)s AND queue = ANY(%(queues)s::uuid[])
"""
# The queues whose first message is due.
_DUE = """
SELECT queue
FROM (
    SELECT DISTINCT ON (queue) queue, id, next_attempt_at
    FROM events_parkedmessage
    WHERE consumer = %(consumer)s
    ORDER BY queue, id
) first
WHERE next_attempt_at <= clock_timestamp()
ORDER BY id
LIMIT %(size)s
"""
_BEGIN = """
UPDATE events_parkedmessage
SET attempts = attempts + 1, next_attempt_at = clock_timestamp() + %(lease)s
WHERE id = (SELECT min(id) FROM events_parkedmessage WHERE consumer = %(consumer)s AND queue = %(queue)s)
    AND next_attempt_at <= clock_timestamp()
RETURNING id, attempts, message
"""
_LATER = "UPDATE events_parkedmessage SET next_attempt_at = clock_timestamp() + %(pause)s WHERE id = %(id)s"
_UNCOUNT = """
UPDATE events_parkedmessage
SET attempts = attempts - 1, next_attempt_at = clock_timestamp()
WHERE id = ANY(%(ids)s::bigint[])
"""
_LEAVE = "DELETE FROM events_parkedmessage WHERE id = ANY(%(ids)s::bigint[])"
_COUNT = "SELECT count(*) FROM (SELECT FROM events_parkedmessage WHERE consumer = %(consumer)s LIMIT %(max)s) parked"


class Waiting(NamedTuple):
    """A message to park, how often it was tried, and how long it waits if it is the first of its key."""

    received: Received
    attempts: int = 0
    pause: timedelta = timedelta(0)


class Begun(NamedTuple):
    """A parked message that is about to be tried; `attempts` counts that in."""

    id: int
    attempts: int
    received: Received


class _Kept(msgspec.Struct, array_like=True):
    topic: str
    partition: int | None
    offset: str
    key: str
    value: bytes
    headers: dict[str, str]


_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(_Kept).decode


def queue_of(received: Received) -> UUID:
    """Return what stands for a message's key, or for itself if it has none."""
    name = f"key {received.key}" if received.key else f"place {_place(received)}"
    return UUID(bytes=hashlib.sha256(name.encode(errors="replace")).digest()[:16])


def park(consumer: str, messages: Sequence[Waiting]) -> None:
    """Keep messages behind what is parked already, in the order given; one that is there stays as it is.

    Call inside a database transaction.
    """
    with raw_cursor() as cursor:
        for part in _statements(messages):
            columns = {
                "queues": uuids(queue_of(one.received) for one in part),
                "places": texts(_place(one.received) for one in part),
                "messages": blobs(_encode(_Kept(*one.received[:6])) for one in part),
                "attempts": numbers(one.attempts for one in part),
                "pauses_s": texts(str(one.pause.total_seconds()) for one in part),
            }
            cursor.execute(_PARK, {"consumer": consumer} | columns)


def occupied(consumer: str, queues: Collection[UUID]) -> set[UUID]:
    """Return those queues in which something is parked."""
    with raw_cursor() as cursor:
        return {row[0] for row in cursor.execute(_OCCUPIED, {"consumer": consumer, "queues": uuids(queues)})}


def due(consumer: str) -> list[UUID]:
    """Return queues whose first message is due, those that have waited longest."""
    with raw_cursor() as cursor:
        return [row[0] for row in cursor.execute(_DUE, {"consumer": consumer, "size": QUEUES_AT_ONCE})]


def begin(consumer: str, queue: UUID) -> Begun | None:
    """Count an attempt of the first message of a queue and return it; None if it is not due, or another is at it.

    Call outside of a database transaction: it is to stand whatever becomes of us.
    """
    lease = timedelta(seconds=settings.TRANSACTION_TIMEOUT + LEASE_S)
    with raw_cursor() as cursor:
        row = cursor.execute(_BEGIN, {"consumer": consumer, "queue": queue, "lease": lease}).fetchone()
    if row is None:
        return None
    kept = _decode(row[2])
    received = Received(kept.topic, kept.partition, kept.offset, kept.key, kept.value, kept.headers, None)
    return Begun(row[0], row[1], received)


def try_later(parked_id: int, pause: timedelta) -> None:
    """Note that an attempt has failed, and when to make the next."""
    with raw_cursor() as cursor:
        cursor.execute(_LATER, {"id": parked_id, "pause": pause})


def uncount(parked_ids: Iterable[int]) -> None:
    """Take back attempts that were none, since the database went away."""
    with raw_cursor() as cursor:
        cursor.execute(_UNCOUNT, {"ids": numbers(parked_ids)})


def leave(parked_ids: Iterable[int]) -> None:
    """Drop messages that are done with, in the commit of their effect or of their dead letter."""
    with raw_cursor() as cursor:
        cursor.execute(_LEAVE, {"ids": numbers(parked_ids)})


def count_parked(consumer: str) -> int:
    """Return how many messages of a topic are parked, up to PARKED_MAX."""
    with raw_cursor() as cursor:
        row = cursor.execute(_COUNT, {"consumer": consumer, "max": PARKED_MAX}).fetchone()
    return int(row[0]) if row else 0


def _place(received: Received) -> str:
    return f"{'' if received.partition is None else received.partition}:{received.offset}"


def _statements(messages: Iterable[Waiting]) -> Iterator[list[Waiting]]:
    part: list[Waiting] = []
    size = 0
    for one in messages:
        if part and size + len(one.received.value) > STATEMENT_BYTES_MAX:
            yield part
            part, size = [], 0
        part.append(one)
        size += len(one.received.value)
    if part:
        yield part
