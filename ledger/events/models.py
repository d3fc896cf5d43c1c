"""What happened, recorded in the commit that made it true; the order in which it is told; what could not be handled."""

from __future__ import annotations

import json
from collections.abc import Mapping

from django.db import models
from django.db.models.functions import MD5, Now

from config.runtime.ids import uuid7
from ledger.clients.models import Client

TEXT_LENGTH_MAX = 500


class OutboxEvent(models.Model):
    """One change that somebody outside can act on; rows of one `key` stand in the order of their `id`.

    Partitioned by month of `occurred_at` (ledger/events/sql/outbox.sql); append-only.
    """

    pk = models.CompositePrimaryKey("occurred_at", "id")
    id = models.BigIntegerField(editable=False)
    event_id = models.UUIDField(default=uuid7)
    client_id = models.BigIntegerField()
    type = models.CharField(max_length=48)
    key = models.UUIDField()
    data = models.TextField()
    trace = models.CharField(max_length=64, blank=True, db_default="")
    occurred_at = models.DateTimeField(db_default=Now())


class EventPosition(models.Model):
    """The place of an event in the one order of all events, given after its commit (ledger/events/numbering.py).

    `sequence` counts the events of its key from 1, without a gap. Partitioned as the outbox is; append-only.
    """

    pk = models.CompositePrimaryKey("occurred_at", "position")
    position = models.BigIntegerField()
    outbox_id = models.BigIntegerField()
    occurred_at = models.DateTimeField()
    client_id = models.BigIntegerField()
    type = models.CharField(max_length=48)
    key = models.UUIDField()
    sequence = models.BigIntegerField()

    class Meta:
        db_table = "events_position"


class LetterStatus(models.TextChoices):
    """Where a dead letter stands."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


_IS_OPEN = models.Q(status=LetterStatus.OPEN)


class DeadLetter(models.Model):
    """A message that its consumer could not handle, as it came: it is replayed, or discarded with a reason.

    The message itself never changes: role app may update only what became of it. Of one without a client only staff
    know.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, null=True, db_index=False)
    status = models.CharField(max_length=10, choices=LetterStatus.choices, db_default=LetterStatus.OPEN)
    consumer = models.CharField(max_length=128)
    topic = models.CharField(max_length=249)
    partition = models.IntegerField(null=True)
    offset = models.CharField(max_length=64)
    key = models.TextField()
    # JSON text, and not jsonb: a header may hold what jsonb does not take.
    headers_json = models.TextField(db_column="headers")
    body = models.BinaryField()
    event_id = models.CharField(max_length=255)
    error_code = models.CharField(max_length=64)
    error = models.CharField(max_length=TEXT_LENGTH_MAX)
    attempts = models.IntegerField()
    trace = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    failed_at = models.DateTimeField(db_default=Now())
    replay_count = models.IntegerField(db_default=0)
    last_error = models.CharField(max_length=TEXT_LENGTH_MAX, db_default="")
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.CharField(max_length=100, db_default="")
    reason = models.CharField(max_length=TEXT_LENGTH_MAX, db_default="")

    class Meta:
        permissions = [("replay_deadletter", "Can replay dead letters"), ("discard_deadletter", "Can discard them")]
        constraints = [
            models.UniqueConstraint(
                fields=["consumer", "topic", "partition", "offset", "event_id"],
                condition=_IS_OPEN,
                nulls_distinct=False,
                name="dead_letter_open_once",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=LetterStatus.values)
                & (_IS_OPEN & models.Q(resolved_at=None) | ~_IS_OPEN & models.Q(resolved_at__isnull=False)),
                name="dead_letter_resolved_once",
            ),
        ]
        indexes = [
            models.Index(fields=["client", "id"], name="dead_letter_by_client"),
            models.Index(fields=["created_at"], name="dead_letter_by_time"),
            models.Index(fields=["id"], condition=_IS_OPEN, name="dead_letter_open"),
            models.Index(fields=["event_id"], name="dead_letter_by_event"),
            # By a digest: a key may be longer than an index takes.
            models.Index(MD5("key"), "id", name="dead_letter_by_key"),
            models.Index("consumer", MD5("key"), "id", condition=_IS_OPEN, name="dead_letter_open_by_key"),
        ]

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def kind(self) -> str:
        """What could not handle it: `listener`, `transport` or `inbound`."""
        return self.consumer.partition(":")[0]

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers as they came."""
        headers: dict[str, str] = json.loads(self.headers_json)
        return headers
