"""What lists of accounts and transactions are filtered by: of the API, of exports, and in the back office."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import DecimalField, F, QuerySet, Value
from django.db.models.functions import Cast, Power

from config.api.filters import ChoicesFilter, MomentFilter, StrictFilterSet
from config.runtime.cache.store import Version
from config.runtime.ids import first_at
from ledger.domain.accounts import PATH, AccountKind, AccountStatus, is_path
from ledger.domain.money import AmountInvalid, parse_amount
from ledger.domain.states import Status
from ledger.kinds import KINDS
from ledger.lists import of_account, of_client, of_user
from ledger.models import Account, Transaction
from ledger.queries.accounts import accounts_below
from ledger.queries.reach import Reach
from ledger.queries.transactions import touching

EXPONENT_MAX = 18


class _AmountField(forms.CharField):
    """Major units; compared with each row by the row's own currency."""

    openapi: ClassVar = {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?$"}

    def to_python(self, value: Any) -> Any:
        if not value:
            return None
        try:
            parse_amount(value, exponent=EXPONENT_MAX)
        except AmountInvalid as error:
            raise ValidationError(str(error)) from error
        return Decimal(value)


class AmountFilter(django_filters.Filter):
    """Compare `amount_minor` with an amount in major units, whatever the row's currency."""

    field_class = _AmountField

    def filter(self, qs: QuerySet[Any], value: Decimal | None) -> QuerySet[Any]:
        if value is None:
            return qs
        # The exponent as numeric too: of an integer, PostgreSQL would make a float.
        exponent = Cast(F("currency__exponent"), DecimalField(max_digits=38, decimal_places=0))
        bound = Value(value) * Power(Value(Decimal(10)), exponent)
        return qs.filter(**{f"amount_minor__{self.lookup_expr}": bound})


class CreatedFilter(MomentFilter):
    """A bound on created_at, which is a bound on the id: ids are ordered by it."""

    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        return qs if value is None else qs.filter(**{f"id__{self.lookup_expr}": first_at(value)})


class TransactionTraits(StrictFilterSet):
    """What a transaction is: found by looking, without an index."""

    contained = "metadata"

    type = django_filters.ChoiceFilter(choices=[(name, name) for name in KINDS])
    type__in = ChoicesFilter(field_name="type", choices=list(KINDS))
    status = django_filters.ChoiceFilter(choices=[(status.value, status.value) for status in Status])
    status__in = ChoicesFilter(field_name="status", choices=[status.value for status in Status])
    currency = django_filters.CharFilter(field_name="currency_id", max_length=16)
    currency__in = ChoicesFilter(field_name="currency_id")
    reference = django_filters.CharFilter(max_length=255)
    amount = AmountFilter(lookup_expr="exact")
    amount__gte = AmountFilter(lookup_expr="gte")
    amount__gt = AmountFilter(lookup_expr="gt")
    amount__lte = AmountFilter(lookup_expr="lte")
    amount__lt = AmountFilter(lookup_expr="lt")

    class Meta:
        model = Transaction
        fields: list[str] = []


class TransactionFilters(TransactionTraits):
    """The filters of GET /v2/transactions: traits, and whose and of when it is.

    `created_at` is a range of ids and `user_id` has indexes: they cut the scope. The others are looked for inside it.
    """

    created_at__gte = CreatedFilter(lookup_expr="gte")
    created_at__lt = CreatedFilter(lookup_expr="lt")
    account = django_filters.CharFilter(max_length=255, method="_touching")
    user_id = django_filters.CharFilter(max_length=64, method="_elsewhere")

    _CUTS = frozenset({"created_at__gte", "created_at__lt", "user_id"})

    def scopes(self, reach: Reach) -> list[QuerySet[Transaction]]:
        """Return the indexed rows to look through; a user's account leads to its user's rows."""
        self._account = reach.account_named(self.data["account"]) if "account" in self.data else None
        user_id = self.data.get("user_id") or (self._account.user_id if self._account else None)
        rows = reach.transactions(user_id=user_id, is_weighed=any(name.startswith("amount") for name in self.data))
        for name in self._CUTS - {"user_id"}:
            rows = [self.filters[name].filter(one, self.form.cleaned_data[name]) for one in rows]
        return rows

    def version(self, reach: Reach) -> Version | None:
        """Return what a page stands under, None where it is of an account that is not there (yet)."""
        account = reach.account_named(self.data["account"]) if "account" in self.data else None
        if account is None and "account" in self.data:
            return None
        # Of three users in a transaction's legs two have it in their lists: whose rows are looked through counts first.
        user_id = reach.user_id or self.data.get("user_id")
        if user_id is not None:
            return of_user(reach.client_id, user_id)
        return of_client(reach.client_id) if account is None else of_account(reach.client_id, account)

    @property
    def look(self) -> Callable[[QuerySet[Any]], QuerySet[Any]] | None:
        """Return what narrows a scope without an index, or None when nothing does."""
        return self.narrow if self.given - self._CUTS else None

    def _touching(self, rows: QuerySet[Any], _name: str, _value: str) -> QuerySet[Any]:
        return touching(rows, self._account)

    def _elsewhere(self, rows: QuerySet[Any], _name: str, _value: str) -> QuerySet[Any]:
        return rows


class _PathField(forms.CharField):
    """A whole path, or the first segments of one."""

    openapi: ClassVar = {"type": "string", "pattern": f"^{PATH.pattern}$"}

    def to_python(self, value: Any) -> Any:
        if value and not is_path(value):
            raise ValidationError("Segments of a path, joined by colons, such as users:alice.")
        return value


class PathFilter(django_filters.Filter):
    """A part of the chart of accounts, by whole segments."""

    field_class = _PathField


class AccountFilters(StrictFilterSet):
    """The filters of GET /v2/accounts.

    `path` and `path_prefix` have an index, and so has `user_id`, which serves without a prefix: they cut the scope. The
    others are looked for inside it.
    """

    contained = "metadata"

    path = django_filters.CharFilter(max_length=255, method="_elsewhere")
    path_prefix = PathFilter(
        max_length=255,
        method="_elsewhere",
        help_text="Whole segments: users:alice means users:alice and users:alice:USD, and not users:alice2:USD.",
    )
    user_id = django_filters.CharFilter(max_length=64, method="_of_user")
    currency = django_filters.CharFilter(field_name="currency_id", max_length=16)
    kind = django_filters.ChoiceFilter(choices=[(kind.value, kind.value) for kind in AccountKind])
    status = django_filters.ChoiceFilter(choices=[(status.value, status.value) for status in AccountStatus])

    class Meta:
        model = Account
        fields: list[str] = []

    def scopes(self, reach: Reach) -> list[QuerySet[Account]]:
        """Return the indexed rows to look through."""
        chosen = self.data
        if "path_prefix" not in chosen:
            return [reach.accounts(path=chosen.get("path"), user_id=chosen.get("user_id"))]
        return accounts_below(reach.accounts(path=chosen.get("path")), chosen["path_prefix"])

    @property
    def order(self) -> dict[str, Any]:
        """Return how pages are ordered: as the index of the scopes is."""
        return {"field": "path", "descending": False} if "path_prefix" in self.data else {"field": "public_id"}

    def _of_user(self, rows: QuerySet[Any], _name: str, value: str) -> QuerySet[Any]:
        return rows.filter(user_id=value) if "path_prefix" in self.data else rows

    def _elsewhere(self, rows: QuerySet[Any], _name: str, _value: str) -> QuerySet[Any]:
        return rows
