"""Batches: many transactions in one request, and what became of each item."""

from __future__ import annotations

from django.db import models

from config.runtime.ids import uuid7
from ledger.clients.models import Client
from ledger.domain.batches import BatchMode, BatchStatus
from ledger.models.transactions import Transaction


class Batch(models.Model):
    """One request of many items; while it is `processing`, it waits for its next turn since `next_attempt_at`."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    mode = models.CharField(max_length=7, choices=[(mode.value, mode.value) for mode in BatchMode])
    status = models.CharField(max_length=10, choices=[(status.value, status.value) for status in BatchStatus])
    item_count = models.PositiveSmallIntegerField()
    waiting_count = models.PositiveSmallIntegerField(db_default=0)
    actor = models.CharField(max_length=100)
    request_id = models.CharField(max_length=128, blank=True)
    trace = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "batches"
        constraints = [
            models.CheckConstraint(name="batch_mode_known", condition=models.Q(mode__in=list(BatchMode))),
            models.CheckConstraint(name="batch_status_known", condition=models.Q(status__in=list(BatchStatus))),
            models.CheckConstraint(
                name="batch_waits_iff_processing",
                condition=models.Q(status="processing", waiting_count__gt=0) | models.Q(waiting_count=0),
            ),
        ]
        indexes = [
            models.Index(fields=["client", "id"], name="batch_by_client"),
            models.Index(
                fields=["next_attempt_at", "id"], name="batch_waiting", condition=models.Q(status="processing")
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class BatchItem(models.Model):
    """One item of a batch: what was asked while it waits, then its transaction, or the error that refused it.

    It waits while it has a `body` and no error. `attempts` counts the tries that ended without an outcome; one that was
    given up after them keeps its body beside its error, to be tried again. Those of one `group` are booked together.
    `replayed` says that an earlier request with the item's key made the transaction.
    """

    pk = models.CompositePrimaryKey("batch_id", "index")
    batch = models.ForeignKey(
        Batch, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="items"
    )
    index = models.PositiveSmallIntegerField()
    group = models.CharField(max_length=64, null=True)
    body = models.TextField(null=True)
    attempts = models.PositiveSmallIntegerField(db_default=0)
    transaction = models.ForeignKey(
        Transaction, on_delete=models.PROTECT, null=True, db_constraint=False, db_index=False
    )
    error = models.JSONField(null=True)
    replayed = models.BooleanField(db_default=False)
