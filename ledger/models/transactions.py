"""Transactions (what a client asked, with a status that moves) and their history (append-only)."""

from __future__ import annotations

import msgspec
from django.db import models

from config.runtime.ids import uuid7
from ledger.clients.models import Client
from ledger.domain.legs import StoredLegs, Terms
from ledger.domain.states import Status
from ledger.models.accounts import Account, Currency, MinorUnitsField

STATUSES = [(status.value, status.value) for status in Status]


class Transaction(models.Model):
    """One intent to move money. Only its status, error, attempts, completion and sums move, and only as MOVES allows.

    `created_at` is the time of the id, so (client, id) is the index by time. `attempts` counts the tries that ended in
    a failure which another try may mend; `version` counts the moves of the status and of the sums. `booked_minor` is
    what of the amount has been booked, `reversed_minor` what of that has been taken back by the transactions that name
    it in `reverses`. With `expires_at` the amount is held first, until it is captured, voided or that moment.

    `terms` (ledger.domain.legs.Terms) says what is moved where that is more than one amount between two accounts. What
    was asked for by its legs has no debit and no credit account.

    No index names what moves, so that a move stays on its page (HOT): what waits to be posted stands in QueuedPosting,
    what is held in OpenHold. The foreign keys are not declared: the posting engine finds the accounts, and what is
    booked on them the guard on entry checks set-wise.
    """

    id = models.UUIDField(primary_key=True, default=uuid7)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    idempotency_key = models.CharField(max_length=255, null=True)
    request_hash = models.BinaryField(null=True)
    receipt_code = models.CharField(max_length=40)
    type = models.CharField(max_length=32)
    status = models.CharField(max_length=10, choices=STATUSES)
    amount_minor = MinorUnitsField()
    currency = models.ForeignKey(Currency, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    debit_account = models.ForeignKey(
        Account, on_delete=models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    credit_account = models.ForeignKey(
        Account, on_delete=models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    terms = models.JSONField(null=True)
    user_id = models.CharField(max_length=64, null=True)
    peer_user_id = models.CharField(max_length=64, null=True)
    reference = models.CharField(max_length=255, null=True)
    description = models.CharField(max_length=500, null=True)
    metadata = models.JSONField(default=dict)
    error_code = models.CharField(max_length=48, null=True)
    effective_at = models.DateTimeField()
    execute_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    reverses = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="reversals"
    )
    booked_minor = MinorUnitsField(db_default=0)
    reversed_minor = MinorUnitsField(db_default=0)
    batch = models.ForeignKey("Batch", on_delete=models.PROTECT, null=True, db_constraint=False, db_index=False)
    batch_index = models.PositiveSmallIntegerField(null=True)
    attempts = models.PositiveSmallIntegerField(db_default=0)
    version = models.PositiveIntegerField(db_default=1)
    created_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["client", "idempotency_key"], name="transaction_key_once"),
            models.CheckConstraint(name="transaction_amount_positive", condition=models.Q(amount_minor__gt=0)),
            models.CheckConstraint(name="transaction_status_known", condition=models.Q(status__in=list(Status))),
            models.CheckConstraint(
                name="transaction_error_iff_failed",
                condition=models.Q(status="failed", error_code__isnull=False)
                | models.Q(~models.Q(status="failed"), error_code__isnull=True),
            ),
            models.CheckConstraint(
                name="transaction_completed_once_booked",
                condition=models.Q(completed_at__isnull=True) | models.Q(status__in=["completed", "reversed"]),
            ),
            models.CheckConstraint(
                name="transaction_booked_within",
                condition=models.Q(booked_minor__gte=0, booked_minor__lte=models.F("amount_minor")),
            ),
            models.CheckConstraint(
                name="transaction_reversed_within",
                condition=models.Q(reversed_minor__gte=0, reversed_minor__lte=models.F("booked_minor")),
            ),
            models.CheckConstraint(
                name="transaction_reversed_iff_all",
                condition=models.Q(status="reversed", reversed_minor=models.F("booked_minor"))
                | models.Q(~models.Q(status="reversed"), booked_minor=0)
                | models.Q(~models.Q(status="reversed"), reversed_minor__lt=models.F("booked_minor")),
            ),
            models.CheckConstraint(
                name="transaction_booked_as_status",
                condition=models.Q(status__in=["completed", "reversed"], booked_minor__gt=0)
                | models.Q(status="pending", expires_at__isnull=False, booked_minor__lt=models.F("amount_minor"))
                | models.Q(status__in=["processing", "failed", "voided", "expired"], booked_minor=0),
            ),
            models.CheckConstraint(
                name="transaction_two_accounts",
                condition=models.Q(debit_account__isnull=False, credit_account__isnull=False)
                & ~models.Q(debit_account=models.F("credit_account"))
                | models.Q(debit_account__isnull=True, credit_account__isnull=True, terms__isnull=False),
            ),
            models.CheckConstraint(
                name="transaction_key_with_hash",
                condition=models.Q(idempotency_key__isnull=True) | models.Q(request_hash__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["client", "id"], name="transaction_by_client"),
            models.Index(
                fields=["client", "user_id", "id"],
                name="transaction_by_user",
                condition=models.Q(user_id__isnull=False),
            ),
            models.Index(
                fields=["client", "peer_user_id", "id"],
                name="transaction_by_peer",
                condition=models.Q(peer_user_id__isnull=False),
            ),
            models.Index(
                fields=["reverses", "id"],
                name="transaction_reversals",
                condition=models.Q(reverses__isnull=False),
            ),
        ]
        permissions = [
            ("capture_transaction", "Can capture what is held"),
            ("void_transaction", "Can let go what is held"),
            ("reverse_transaction", "Can take back what was booked"),
            ("retry_transaction", "Can have posted again what failed"),
        ]

    def __str__(self) -> str:
        return self.receipt_code

    @property
    def legs(self) -> StoredLegs:
        """What it moves."""
        terms = None if self.terms is None else msgspec.convert(self.terms, Terms)
        return StoredLegs(self.debit_account_id, self.credit_account_id, self.amount_minor, terms)


class TransactionEvent(models.Model):
    """One move of one transaction, written in the commit of the move.

    `from_status` is NULL for the first. `executing_at` is when the engine took the transaction up, on the rows that
    record an outcome: an answer shows `executing` as a step of its own between the two.
    """

    id = models.BigAutoField(primary_key=True)
    transaction = models.ForeignKey(
        Transaction, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="history"
    )
    from_status = models.CharField(max_length=10, null=True)
    to_status = models.CharField(max_length=10, choices=STATUSES)
    amount_minor = MinorUnitsField()
    actor = models.CharField(max_length=100)
    reason = models.CharField(max_length=500, blank=True)
    request_id = models.CharField(max_length=128, blank=True)
    executing_at = models.DateTimeField(null=True)
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["transaction", "id"], name="history_by_transaction")]
