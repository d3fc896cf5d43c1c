"""Reconciliations: what a comparison of a bank's statement with an account found. Stored once and never changed."""

from __future__ import annotations

from django.db import models

from config.runtime.ids import uuid7
from ledger.clients.models import Client
from ledger.domain.matching import Verdict
from ledger.models.accounts import Account, MinorUnitsField


class Reconciliation(models.Model):
    """A statement of one account, compared with its entries as they stood then.

    `mapping` is a ready one's name or the whole of another; `counts` are those of ReconciliationShape. The closing
    balances are those of the end of `last_date`, the bank's NULL when it prints none; they may differ by
    `rounding_minor`.
    """

    id = models.UUIDField(primary_key=True, default=uuid7)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    mapping = models.JSONField()
    date_window_days = models.PositiveSmallIntegerField()
    content_hash = models.BinaryField()
    first_date = models.DateField()
    last_date = models.DateField()
    counts = models.JSONField()
    closing_bank = MinorUnitsField(null=True)
    closing_books = MinorUnitsField()
    rounding_minor = MinorUnitsField()
    agrees = models.BooleanField()
    actor = models.CharField(max_length=100)
    request_id = models.CharField(max_length=128, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["client", "id"], name="reconciliation_by_client")]


class ReconciliationBreak(models.Model):
    """One break of a reconciliation: the line and the entry as they are shown."""

    pk = models.CompositePrimaryKey("reconciliation_id", "index")
    reconciliation = models.ForeignKey(
        Reconciliation, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="breaks"
    )
    index = models.PositiveIntegerField()
    kind = models.CharField(max_length=20, choices=[(verdict.value, verdict.value) for verdict in Verdict])
    line = models.JSONField(null=True)
    entry = models.JSONField(null=True)
    group = models.PositiveIntegerField(null=True)
    repeats = models.BigIntegerField(null=True)
