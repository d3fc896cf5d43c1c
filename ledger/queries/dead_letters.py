"""Reads of dead letters: lists, one with its message, and what a replay of many would be about."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db.models import Count, Q, QuerySet

from config.runtime.errors import NotFound
from config.runtime.ids import first_at
from config.runtime.redaction import redact_fields
from ledger.clients.models import AuditEntry
from ledger.events.dead_letters import letter_shape
from ledger.events.models import DeadLetter, LetterStatus
from ledger.events.replay import is_handled
from ledger.events.shapes import DeadLetterDetailShape, TallyShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which open letters are meant: all for which everything holds that is said here."""

    client_id: int | None = None
    consumer: str | None = None
    error_code: str | None = None
    topic: str | None = None
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ids: Collection[UUID] | None = None

    @property
    def rows(self) -> QuerySet[DeadLetter]:
        """The letters, in the order in which they were recorded."""
        said = {
            "client_id": self.client_id,
            "consumer": self.consumer,
            "error_code": self.error_code,
            "topic": self.topic,
            "key": self.key,
            "pk__gte": None if self.since is None else first_at(self.since),
            "pk__lt": None if self.until is None else first_at(self.until),
            "pk__in": self.ids,
        }
        given = {name: value for name, value in said.items() if value is not None}
        return DeadLetter.objects.filter(status=LetterStatus.OPEN, **given).order_by("pk")


def get_letter(letter_id: UUID) -> DeadLetter:
    """Return a letter with its message.

    Raises:
        NotFound: there is none.
    """
    row = DeadLetter.objects.select_related("client").filter(pk=letter_id).first()
    if row is None:
        raise NotFound
    return row


def letter_detail(row: DeadLetter) -> DeadLetterDetailShape:
    """Return what an answer shows of a letter with its message."""
    message = message_of(row)
    return DeadLetterDetailShape(
        **msgspec.structs.asdict(letter_shape(row)),
        headers=message.headers,
        body=b64encode(row.body).decode() if message.text is None else message.text,
        body_encoding="base64" if message.text is None else "text",
        size_bytes=len(row.body),
    )


class Message(NamedTuple):
    """What of a message may be shown: headers without secrets, and the body if it is text."""

    headers: dict[str, str]
    text: str | None


def message_of(row: DeadLetter) -> Message:
    """Return what may be shown of a letter's message; half a surrogate pair in a header is shown as `?`."""
    headers = {_shown(name): _shown(str(value)) for name, value in redact_fields(row.headers).items()}
    try:
        return Message(headers, bytes(row.body).decode())
    except UnicodeDecodeError:
        return Message(headers, None)


def audit_of(row: DeadLetter) -> QuerySet[AuditEntry]:
    """Return who replayed or discarded a letter, and why; `id` orders it."""
    return AuditEntry.objects.filter(object_type=DeadLetter._meta.label_lower, object_id=str(row.pk))  # noqa: SLF001


def tally(rows: QuerySet[DeadLetter], *, replays_max: int) -> list[TallyShape]:
    """Count letters by consumer and error code, and how many of them may be replayed."""
    may_be = Count("pk", filter=Q(replay_count__lt=replays_max))
    found = rows.order_by().values_list("consumer", "error_code").annotate(count=Count("pk"), replayable=may_be)
    return [
        TallyShape(consumer=consumer, error_code=code, count=count, replayable=may_be if is_handled(consumer) else 0)
        for consumer, code, count, may_be in sorted(found)
    ]


def _shown(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
