"""Journals and entries: what was booked. Both are immutable; the guards stand in ledger/sql/."""

from __future__ import annotations

from django.db import models

from config.runtime.ids import uuid7
from ledger.clients.models import Client
from ledger.domain.states import JournalKind, Layer
from ledger.models.accounts import Account, Currency, MinorUnitsField
from ledger.models.transactions import Transaction


class Journal(models.Model):
    """One balanced booking of one transaction; `external_ref` is its receipt code (spec 001)."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    transaction = models.ForeignKey(
        Transaction, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="journals"
    )
    external_ref = models.CharField(max_length=40)
    kind = models.CharField(max_length=8, choices=[(kind.value, kind.value) for kind in JournalKind])
    entry_count = models.PositiveSmallIntegerField()
    effective_at = models.DateTimeField()
    posted_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="journal_kind_known", condition=models.Q(kind__in=list(JournalKind))),
            models.CheckConstraint(name="journal_two_lines", condition=models.Q(entry_count__gte=2)),
            models.UniqueConstraint(
                fields=["transaction", "kind"], name="journal_once", condition=~models.Q(kind="capture")
            ),
        ]
        indexes = [models.Index(fields=["external_ref"], name="journal_by_external_ref")]

    def __str__(self) -> str:
        return f"{self.kind} {self.external_ref}"


class Entry(models.Model):
    """One line of a journal: debits positive, credits negative.

    `account_version` counts the account's lines without gaps; `posted_after` and `pending_after` are its sums
    (debits less credits) after this line, `pending_debits_after` is what its open holds may still debit then.
    """

    pk = models.CompositePrimaryKey("journal_id", "line")
    journal = models.ForeignKey(
        Journal, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="entries"
    )
    line = models.PositiveSmallIntegerField()
    account = models.ForeignKey(Account, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    currency = models.ForeignKey(Currency, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    layer = models.CharField(max_length=6, choices=[(layer.value, layer.value) for layer in Layer])
    amount_minor = MinorUnitsField()
    account_version = models.BigIntegerField()
    posted_after = MinorUnitsField()
    pending_after = MinorUnitsField()
    pending_debits_after = MinorUnitsField()
    posted_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "entries"
        constraints = [
            models.UniqueConstraint(fields=["account", "account_version"], name="entry_version_once"),
            models.CheckConstraint(name="entry_line_from_one", condition=models.Q(line__gte=1)),
            models.CheckConstraint(name="entry_not_zero", condition=~models.Q(amount_minor=0)),
            models.CheckConstraint(name="entry_layer_known", condition=models.Q(layer__in=list(Layer))),
        ]


class TimeShift(models.Model):
    """An entry that took effect long before or after it was booked, and what it changes between the two.

    From `begins_at` until before `ends_at` the account's sums by effective time are so much more than those by booking
    time; each stands for the sum of an entry that has its name. Kept by the guard on entry alone
    (ledger/sql/journal.sql), for entries whose two times are more than ten seconds apart; the others are few at any
    moment.
    """

    pk = models.CompositePrimaryKey("account_id", "account_version")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    begins_at = models.DateTimeField()
    account_version = models.BigIntegerField()
    ends_at = models.DateTimeField()
    posted_minor = MinorUnitsField()
    pending_minor = MinorUnitsField()
    pending_debits_minor = MinorUnitsField()
