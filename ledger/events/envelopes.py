"""Events on the wire: CloudEvents 1.0 in JSON, structured mode, the same bytes for every transport."""

from __future__ import annotations

from uuid import UUID

import msgspec

from config.runtime.clock import rfc3339
from ledger.events.catalogue import Attributes, schema_of
from ledger.events.models import DeadLetter
from ledger.events.stream import Event
from ledger.events.transports.base import Message
from ledger.events.types import EventType

SOURCE = "countinghouse"
CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
TOPIC, DEAD_LETTER_TOPIC = "transactions", "transactions.dlq"


class CloudEvent(Attributes, frozen=True, kw_only=True, omit_defaults=True):
    """A message of whatever type, its data as they were recorded."""

    type: str
    data: msgspec.Raw


_encode = msgspec.json.Encoder().encode


def message_of(event: Event) -> Message:
    """Return what is published of an event."""
    return Message(topic_of(event.type), str(event.key), _encode(cloud_event(event)), headers_of(event))


def topic_of(event_type: str) -> str:
    """Return where events of a type are published."""
    return DEAD_LETTER_TOPIC if event_type == EventType.DEAD_LETTER_RECORDED else TOPIC


def dead_message(event: Event, letter: DeadLetter) -> Message:
    """Return what is published of a dead letter: the message as it came, and in more headers why it is one."""
    said = {
        "x-dead-letter-id": str(letter.pk),
        "x-consumer": letter.consumer,
        "x-original-topic": letter.topic,
        "x-original-partition": "" if letter.partition is None else str(letter.partition),
        "x-original-offset": letter.offset,
        "x-error-code": letter.error_code,
        "x-error-message": letter.error,
        "x-attempts": str(letter.attempts),
        "x-failed-at": rfc3339(letter.failed_at),
        "x-client": str(event.client),
    }
    traced = {"traceparent": letter.trace} if letter.trace else {}
    return Message(DEAD_LETTER_TOPIC, letter.key, bytes(letter.body), {**letter.headers, **traced, **said})


def headers_of(event: Event) -> dict[str, str]:
    """Return what can be read of an event's message without opening it."""
    headers = {
        "content-type": CONTENT_TYPE,
        "ce_id": str(event.id),
        "ce_type": event.type,
        "ce_source": source_of(event.client),
    }
    return headers | {"traceparent": event.trace} if event.trace else headers


def cloud_event(event: Event) -> CloudEvent:
    """Return an event with CloudEvents' names for what it says."""
    return CloudEvent(
        specversion="1.0",
        id=event.id,
        source=source_of(event.client),
        type=event.type,
        time=rfc3339(event.occurred_at),
        subject=str(event.key),
        datacontenttype="application/json",
        dataschema=schema_of(event.type),
        partitionkey=str(event.key),
        sequence=f"{event.sequence:020}",
        position=event.position,
        traceparent=event.trace or None,
        data=msgspec.Raw(event.data.encode()),
    )


def source_of(client: UUID | None) -> str:
    """Return the CloudEvents source of a client's events."""
    return f"/{SOURCE}/clients/{client}"
