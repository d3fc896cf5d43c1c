"""Dead letters: messages that a consumer could not handle, kept as they came, in the commit that gives them up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db import transaction
from django.db.models import QuerySet, Value
from django.db.models.functions import MD5
from django.db.models.lookups import Exact

from config.runtime.arrays import blobs, numbers, texts, uuids
from config.runtime.clock import rfc3339
from config.runtime.database import raw_cursor
from config.runtime.ids import moment_of, uuid7s
from config.runtime.metrics import DEAD_LETTERS_OPEN, DEAD_LETTERS_RECORDED
from config.runtime.sql import sql_file
from ledger.events.envelopes import DEAD_LETTER_TOPIC, headers_of, topic_of
from ledger.events.failures import error_text, storable
from ledger.events.models import DeadLetter
from ledger.events.outbox import Happened, record_events
from ledger.events.shapes import ClientShape, DeadLetterShape
from ledger.events.stream import Event
from ledger.events.types import EventType

# Bodies of one statement, which sends two characters for a byte.
STATEMENT_BYTES_MAX = 8 << 20
RECORD = sql_file("ledger/events", "record_dead_letters")
OPEN = sql_file("ledger/events", "open_dead_letters")

_shown: set[str] = set()


class Letter(NamedTuple):
    """A message that is given up.

    `consumer` is who could not: `listener:<name>`, `transport:<name>` or `inbound:<topic>`. Of an event of ours `topic`
    is the one it is published to, `partition` None and `offset` its position. `event_id` is the producer's id of the
    message, or our event's; a malformed one may have none. `error_code` is stable: a DomainError's code, an SQLSTATE
    class, `malformed_message`, `message_too_large`; `error` is for people. `trace` is a W3C traceparent or empty.
    """

    consumer: str
    client_id: int | None
    topic: str
    partition: int | None
    offset: str
    key: str
    headers: dict[str, str]
    body: bytes
    event_id: str
    error_code: str
    error: str
    attempts: int
    trace: str


_Place = tuple[str, str, int | None, str, str]


def record_dead_letters(letters: Sequence[Letter]) -> list[UUID]:
    """Keep messages that are given up, and tell their clients; return the letter of each, in order.

    A message that is given up twice, since it was delivered again, has one open letter: the first, with the newest
    error and the attempts of both. What PostgreSQL does not store in a text (NUL, half a surrogate pair) is replaced in
    `key`; headers and body stay as they came. Of a letter whose message itself tells of a dead letter nobody is told:
    who cannot take the one cannot take the next either, without end. Call inside a database transaction.
    """
    kept = [_kept(letter) for letter in letters]
    own = dict(zip(map(_place, kept), zip(uuid7s(len(kept)), kept, strict=True), strict=True))
    found: dict[_Place, UUID] = {}
    # In one order, so that two who give up the same messages wait for one another instead of dead-locking.
    for part in _statements(sorted(own.values(), key=lambda one: [str(column) for column in _place(one[1])])):
        found |= _written(part)
    new = {identifier: letter for place, (identifier, letter) in own.items() if found[place] == identifier}
    rows = DeadLetter.objects.filter(pk__in=new).exclude(topic=DEAD_LETTER_TOPIC).order_by("pk")
    tell_of_letters(EventType.DEAD_LETTER_RECORDED, without_messages(rows))
    transaction.on_commit(partial(_count, [(letter.consumer, letter.error_code) for letter in new.values()]))
    return [found[_place(letter)] for letter in kept]


def letter_of_event(consumer: str, event: Event, *, code: str, error: str, attempts: int) -> Letter:
    """Return the dead letter of one of our events, which a follower could not take."""
    return Letter(
        consumer=consumer,
        client_id=event.client_id,
        topic=topic_of(event.type),
        partition=None,
        offset=str(event.position),
        key=str(event.key),
        headers=headers_of(event),
        body=event.data.encode(),
        event_id=str(event.id),
        error_code=code,
        error=error,
        attempts=attempts,
        trace=event.trace,
    )


def tell_of_letters(event_type: EventType, rows: Iterable[DeadLetter], *, trace: str | None = None) -> None:
    """Record an event about each letter that has a client. Call inside a database transaction, after the locks.

    `trace` is that of who caused it, if that is not the message itself.
    """
    with raw_cursor() as cursor:
        record_events(
            cursor,
            [
                Happened(
                    row.client_id,
                    event_type,
                    row.pk,
                    msgspec.json.encode(letter_shape(row)).decode(),
                    row.trace if trace is None else trace,
                )
                for row in rows
                if row.client_id is not None
            ],
        )


def without_messages(rows: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
    """Leave out what may be long, with whose each is."""
    return rows.select_related("client").defer("headers_json", "body")


def has_key(key: str) -> Exact:
    """Return the condition that a letter is of this key, as the indexes have it."""
    return Exact(MD5("key"), MD5(Value(key)))


def letter_shape(row: DeadLetter) -> DeadLetterShape:
    """Return what an answer shows of a letter without its message."""
    return DeadLetterShape(
        id=row.pk,
        client=None if row.client is None else ClientShape(id=row.client.public_id, name=row.client.name),
        status=row.status,
        consumer=row.consumer,
        topic=row.topic,
        partition=row.partition,
        offset=row.offset,
        key=row.key,
        event_id=row.event_id,
        error_code=row.error_code,
        error=row.error,
        attempts=row.attempts,
        trace=row.trace,
        created_at=rfc3339(row.created_at),
        failed_at=rfc3339(row.failed_at),
        replay_count=row.replay_count,
        last_error=row.last_error or None,
        resolved_at=None if row.resolved_at is None else rfc3339(row.resolved_at),
        resolved_by=row.resolved_by or None,
        reason=row.reason or None,
    )


def show_open_letters() -> None:
    """Set the gauge of open letters, to zero for a consumer that has none any more."""
    with raw_cursor() as cursor:
        found = dict(cursor.execute(OPEN).fetchall())
    _shown.update(found)
    for consumer in _shown:
        DEAD_LETTERS_OPEN.labels(consumer).set(found.get(consumer, 0))


def _kept(letter: Letter) -> Letter:
    return letter._replace(
        consumer=storable(letter.consumer, 128),
        topic=storable(letter.topic, 249),
        offset=storable(letter.offset, 64),
        key=storable(letter.key),
        event_id=storable(letter.event_id, 255),
        error_code=storable(letter.error_code, 64),
        error=error_text(letter.error),
        trace=storable(letter.trace, 64),
    )


def _place(letter: Letter) -> _Place:
    return letter.consumer, letter.topic, letter.partition, letter.offset, letter.event_id


def _statements(letters: Iterable[tuple[UUID, Letter]]) -> Iterator[list[tuple[UUID, Letter]]]:
    part: list[tuple[UUID, Letter]] = []
    size = 0
    for one in letters:
        if part and size + len(one[1].body) > STATEMENT_BYTES_MAX:
            yield part
            part, size = [], 0
        part.append(one)
        size += len(one[1].body)
    if part:
        yield part


def _written(part: Sequence[tuple[UUID, Letter]]) -> dict[_Place, UUID]:
    letters = [letter for _, letter in part]
    parameters = {
        "id": uuids(identifier for identifier, _ in part),
        # A bound on created_at is one on the id.
        "created_at": texts(rfc3339(moment_of(identifier)) for identifier, _ in part),
        "client_id": numbers(letter.client_id for letter in letters),
        "partition": numbers(letter.partition for letter in letters),
        "attempts": numbers(letter.attempts for letter in letters),
        "headers": texts(json.dumps(letter.headers) for letter in letters),
        "body": blobs(letter.body for letter in letters),
    }
    for name in ("consumer", "topic", "offset", "key", "event_id", "error_code", "error", "trace"):
        parameters[name] = texts(getattr(letter, name) for letter in letters)
    with raw_cursor() as cursor:
        return {tuple(place): identifier for *place, identifier in cursor.execute(RECORD, parameters)}


def _count(recorded: Iterable[tuple[str, str]]) -> None:
    for labels, count in Counter(recorded).items():
        DEAD_LETTERS_RECORDED.labels(*labels).inc(count)
