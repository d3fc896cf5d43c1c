"""Who may ask: clients (tenants), their keys, what staff and keys did, and the idempotency keys of small POSTs."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models.functions import Now

from config.runtime.ids import uuid7

CLIENT_NAME_LENGTH_MAX = 100
KEY_LABEL_LENGTH_MAX = 100


class Tier(models.TextChoices):
    """What a client pays for; quotas follow from it."""

    FREE = "free"
    STANDARD = "standard"
    PREMIUM = "premium"
    INTERNAL = "internal"


class Client(models.Model):
    """A tenant. Everything belongs to one, and every client's books balance by themselves."""

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    name = models.CharField(max_length=CLIENT_NAME_LENGTH_MAX, unique=True)
    tier = models.CharField(max_length=10, choices=Tier.choices, default=Tier.STANDARD)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """A key `ch_<key_id>_<secret>`; only the SHA-256 of the secret is kept (it has 160 random bits).

    `networks` are the address ranges from which it is taken; with none it is taken from everywhere. `last_used_at` is
    exact to a minute or two, and NULL of a key that was never used. `replaces` is the key that was rotated.
    """

    key_id = models.CharField(max_length=8, primary_key=True)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="keys")
    label = models.CharField(max_length=KEY_LABEL_LENGTH_MAX, blank=True)
    secret_hash = models.BinaryField()
    scopes = models.JSONField(default=list)
    networks = models.JSONField(default=list, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    replaces = models.ForeignKey("self", on_delete=models.PROTECT, null=True, editable=False, related_name="successors")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"ch_{self.key_id}_…"

    def is_live(self, now: datetime) -> bool:
        """Whether it is taken: neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class AuditEntry(models.Model):
    """Who did what to which object, and why. Append-only: the database refuses every change."""

    client = models.ForeignKey(Client, on_delete=models.PROTECT, null=True, db_constraint=False)
    actor = models.CharField(max_length=100)
    action = models.CharField(max_length=64)
    object_type = models.CharField(max_length=32)
    object_id = models.CharField(max_length=64)
    reason = models.CharField(max_length=500, blank=True)
    request_id = models.CharField(max_length=128, blank=True)
    detail = models.JSONField(default=dict)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = [models.Index(fields=["object_type", "object_id", "id"], name="audit_by_object")]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.object_type} {self.object_id}"


class RouteUse(models.Model):
    """How often a client asked for an operation of the API on one day (UTC): who still uses what before it ends."""

    client = models.ForeignKey(Client, on_delete=models.PROTECT, db_index=False)
    version = models.CharField(max_length=8)
    operation = models.CharField(max_length=128)
    day = models.DateField()
    count = models.BigIntegerField()

    class Meta:
        verbose_name = "API use"
        constraints = [models.UniqueConstraint(fields=["day", "version", "client", "operation"], name="route_use_once")]

    def __str__(self) -> str:
        return f"{self.operation} on {self.day}"


class IdempotencyKey(models.Model):
    """The key of a POST that makes something else than a transaction; written in the commit of the effect."""

    client = models.ForeignKey(Client, on_delete=models.PROTECT)
    key = models.CharField(max_length=255)
    operation = models.CharField(max_length=64)
    request_hash = models.BinaryField()
    object_id = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["client", "key"], name="idempotency_key_once")]
