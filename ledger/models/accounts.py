"""Currencies, accounts and their balances."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.functions import Now

from config.runtime.ids import uuid7
from ledger.clients.models import Client
from ledger.domain.accounts import PATH, AccountKind, AccountStatus, Frozen

if TYPE_CHECKING:
    _Decimal = models.DecimalField[Any, Any]
else:
    _Decimal = models.DecimalField


class MinorUnitsField(_Decimal):
    """Whole minor units: numeric(38,0) in the database, int in Python. A float never gets in."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs | {"max_digits": 38, "decimal_places": 0})

    def from_db_value(self, value: Decimal | None, *_: object) -> int | None:
        return None if value is None else int(value)

    def to_python(self, value: Any) -> Any:
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        if isinstance(value, Decimal) and value == value.to_integral_value():
            return int(value)
        raise TypeError(f"Minor units are whole numbers, not {value!r}.")


class Currency(models.Model):
    """A unit of money; `exponent` is how many decimals its major unit has."""

    code = models.CharField(max_length=16, primary_key=True)
    exponent = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=64)

    class Meta:
        verbose_name_plural = "currencies"
        constraints = [
            models.CheckConstraint(name="currency_code_form", condition=models.Q(code__regex=r"^[A-Z0-9]{2,16}$")),
            models.CheckConstraint(name="currency_exponent_range", condition=models.Q(exponent__lte=18)),
        ]

    def __str__(self) -> str:
        return self.code


class Account(models.Model):
    """A place where money stands. Path, kind, currency and user never change."""

    public_id = models.UUIDField(default=uuid7, unique=True)
    client = models.ForeignKey(Client, on_delete=models.PROTECT)
    path = models.CharField(max_length=255, db_collation="C")
    kind = models.CharField(max_length=9, choices=[(kind.value, kind.value) for kind in AccountKind])
    currency = models.ForeignKey(Currency, on_delete=models.PROTECT)
    user_id = models.CharField(max_length=64, null=True)
    status = models.CharField(max_length=6, choices=[(s.value, s.value) for s in AccountStatus], default="active")
    frozen = models.CharField(max_length=7, choices=[(side.value, side.value) for side in Frozen], default="none")
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["client", "path"], name="account_path_once"),
            models.CheckConstraint(name="account_path_form", condition=models.Q(path__regex=f"^{PATH.pattern}$")),
            models.CheckConstraint(name="account_kind_known", condition=models.Q(kind__in=list(AccountKind))),
            models.CheckConstraint(name="account_status_known", condition=models.Q(status__in=list(AccountStatus))),
            models.CheckConstraint(name="account_frozen_known", condition=models.Q(frozen__in=list(Frozen))),
        ]
        indexes = [
            models.Index(fields=["client", "public_id"], name="account_by_client"),
            models.Index(
                fields=["client", "user_id", "public_id"],
                name="account_by_user",
                condition=models.Q(user_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.path


class Balance(models.Model):
    """The sums of an account's entries, kept by the guard on entry alone; role app may set floor and ceiling.

    `sign` is 1 for debit-normal accounts, -1 for credit-normal ones. The limits are CHECK constraints
    (ledger/sql/balance.sql).
    """

    account = models.OneToOneField(Account, on_delete=models.PROTECT, primary_key=True, db_constraint=False)
    sign = models.SmallIntegerField()
    posted_debits = MinorUnitsField(db_default=0)
    posted_credits = MinorUnitsField(db_default=0)
    pending_debits = MinorUnitsField(db_default=0)
    pending_credits = MinorUnitsField(db_default=0)
    floor = MinorUnitsField(null=True)
    ceiling = MinorUnitsField(null=True)
    version = models.BigIntegerField(db_default=0)
    last_posted_at = models.DateTimeField(null=True)

    @property
    def posted_minor(self) -> int:
        """What is booked, on the account's normal side."""
        posted: int = self.sign * (self.posted_debits - self.posted_credits)
        return posted

    @property
    def held_minor(self) -> int:
        """What open holds may still take away, on the account's normal side."""
        held: int = self.pending_debits if self.sign < 0 else self.pending_credits
        return held

    @property
    def coming_minor(self) -> int:
        """What open holds may still bring, on the account's normal side."""
        coming: int = self.pending_credits if self.sign < 0 else self.pending_debits
        return coming

    @property
    def available_minor(self) -> int:
        """What can be spent: booked less held."""
        return self.posted_minor - self.held_minor
