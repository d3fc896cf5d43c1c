"""Open holds: one narrow row for each transaction that is `pending`."""

from __future__ import annotations

from django.db import models

from ledger.models.transactions import Transaction


class OpenHold(models.Model):
    """A transaction whose amount is held until `expires_at`, a copy of its own.

    The row is inserted in the commit that made the transaction `pending` and deleted in that which ends the hold: an
    index on the transactions themselves would be written by every move.
    """

    transaction = models.OneToOneField(Transaction, on_delete=models.PROTECT, primary_key=True, db_constraint=False)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["expires_at", "transaction"], name="hold_by_end")]
