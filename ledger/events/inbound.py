"""Messages from elsewhere: CloudEvents 1.0 with JSON data, in structured or in binary mode."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from config.runtime.errors import DomainError, Kind
from config.runtime.tracing import well_formed_traceparent
from ledger.events.transports.base import Received

STRUCTURED = "application/cloudevents+json"
BODY_BYTES_MAX = 1 << 20
# Kafka's binding writes the first of these before an attribute, AMQP's the others.
PREFIXES = ("ce_", "cloudevents:", "cloudevents_")
# With the name of its source before it, an id is an idempotency key.
_ID = re.compile(r"[\x21-\x7e]{1,128}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,128}")


class MessageMalformed(DomainError):
    """The message is no CloudEvent 1.0 in JSON."""

    kind, code = Kind.MALFORMED, "malformed_message"


class MessageTooLarge(DomainError):
    """A message has at most 1 MiB."""

    kind, code = Kind.TOO_LARGE, "message_too_large"


class Inbound(NamedTuple):
    """An event from elsewhere: `id` is unique within `source`, `data` is JSON text that nobody has looked into.

    `trace` is a W3C traceparent or empty; `is_replay` where it was a dead letter.
    """

    id: str
    source: str
    type: str
    data: bytes
    trace: str
    received: Received
    is_replay: bool = False


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    specversion: str
    id: str
    source: str
    type: str
    data: msgspec.Raw
    traceparent: str = ""


_decode = msgspec.json.Decoder(_Envelope).decode


def read_message(received: Received) -> Inbound:
    """Return what a message says.

    Raises:
        MessageTooLarge: it is not looked at.
        MessageMalformed: an attribute is missing or wrong, or it is no JSON.
    """
    if len(received.value) > BODY_BYTES_MAX:
        raise MessageTooLarge
    attributes = attributes_of(received.headers)
    if received.headers.get("content-type", "").startswith(STRUCTURED) or "specversion" not in attributes:
        found = _structured(received.value)
        data, trace = bytes(found.data), found.traceparent or attributes.get("traceparent", "")
        attributes = {"specversion": found.specversion, "id": found.id, "source": found.source, "type": found.type}
    else:
        data, trace = received.value, attributes.get("traceparent", "")
    if attributes["specversion"] != "1.0":
        raise MessageMalformed(f"CloudEvents {attributes['specversion'][:20]!r} is not known here, only 1.0.")
    for name in ("id", "source", "type"):
        if not _TEXT.fullmatch(attributes.get(name, "")):
            raise MessageMalformed(f"The attribute {name} is missing, has a control character, or more than 128.")
    if not _ID.fullmatch(attributes["id"]):
        raise MessageMalformed("The attribute id is not 1 to 128 visible ASCII characters.")
    return Inbound(
        attributes["id"], attributes["source"], attributes["type"], data, well_formed_traceparent(trace), received
    )


def attributes_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the CloudEvents attributes among a message's headers, by their bare names."""
    found = {}
    for name, value in headers.items():
        bare = name.lower()
        for prefix in PREFIXES:
            bare = bare.removeprefix(prefix)
        found[bare] = value
    return found


def _structured(body: bytes) -> _Envelope:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageMalformed(f"{MessageMalformed().detail} {error}") from error
