"""The outbox: what happened, recorded in the commit that made it true; and the order in which it is told."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from config.runtime.ids import uuid7


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
