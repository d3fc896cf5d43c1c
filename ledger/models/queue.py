"""The posting queue: one narrow row for each accepted transaction that has no outcome yet."""

from __future__ import annotations

from django.db import models

from ledger.clients.models import Client
from ledger.models.transactions import Transaction


class QueuedPosting(models.Model):
    """A transaction with status `processing`, to be posted at `next_attempt_at` or as soon after as may be.

    The row is inserted in the commit that made the transaction `processing` and deleted in that of its outcome; it
    keeps who asked, for the history and the event of the outcome.
    """

    transaction = models.OneToOneField(Transaction, on_delete=models.PROTECT, primary_key=True, db_constraint=False)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    next_attempt_at = models.DateTimeField()
    actor = models.CharField(max_length=100)
    request_id = models.CharField(max_length=128, blank=True)
    trace = models.CharField(max_length=64, blank=True)

    class Meta:
        indexes = [models.Index(fields=["next_attempt_at", "transaction"], name="queue_by_time")]
