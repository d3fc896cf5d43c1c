"""What staff do to accounts: each action asks why on a page that shows what it will change, and says how it went."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from config.api.backoffice.asking import AskingAdmin, Question, ReasonForm
from ledger.domain.accounts import AccountStatus, Frozen
from ledger.models import Account
from ledger.queries.accounts import account_shape
from ledger.services.account_changes import (
    Changed,
    change_limits,
    close_account,
    freeze_account,
    reopen_account,
    unfreeze_account,
)


class SidesForm(ReasonForm):
    """Which bookings are meant, and why."""

    sides = forms.TypedChoiceField(
        choices=[(side.value, side.value) for side in (Frozen.BOTH, Frozen.DEBITS, Frozen.CREDITS)], coerce=Frozen
    )
    field_order = ["sides", "reason"]


class LimitsForm(ReasonForm):
    """Both limits as they shall be, and why."""

    floor = forms.CharField(required=False, max_length=80, empty_value=None, help_text="Empty: no floor.")
    ceiling = forms.CharField(required=False, max_length=80, empty_value=None, help_text="Empty: no ceiling.")
    field_order = ["floor", "ceiling", "reason"]


def _change(service: Callable[..., Changed], row: Account, **asked: Any) -> None:
    service(client_id=row.client_id, account_id=row.public_id, **asked)


FREEZE = Question("Freeze", "Frozen", partial(_change, freeze_account), SidesForm)
UNFREEZE = Question("Unfreeze", "Unfrozen", partial(_change, unfreeze_account), SidesForm)
LIMITS = Question("Change the limits of", "Changed", partial(_change, change_limits), LimitsForm)
CLOSE = Question("Close", "Closed", partial(_change, close_account))
REOPEN = Question("Reopen", "Reopened", partial(_change, reopen_account))


class AccountChangesAdmin(AskingAdmin):
    """The actions; who has the permission to change accounts may take them, and nobody edits an account otherwise."""

    actions = ("freeze", "unfreeze", "limits", "close", "reopen")
    ask_template = "admin/ledger/account/ask.html"

    def has_state_permission(self, request: HttpRequest) -> bool:
        """Whether staff may freeze, close and limit accounts."""
        return request.user.has_perm("ledger.change_account")

    @admin.action(description="Freeze the selected accounts…", permissions=["state"])
    def freeze(self, request: HttpRequest, queryset: QuerySet[Account]) -> HttpResponse | None:
        return self.ask(request, queryset, FREEZE)

    @admin.action(description="Unfreeze the selected accounts…", permissions=["state"])
    def unfreeze(self, request: HttpRequest, queryset: QuerySet[Account]) -> HttpResponse | None:
        return self.ask(request, queryset, UNFREEZE)

    @admin.action(description="Change the limits of the selected account…", permissions=["state"])
    def limits(self, request: HttpRequest, queryset: QuerySet[Account]) -> HttpResponse | None:
        return self.ask(request, queryset, LIMITS, initial=_limits)

    @admin.action(description="Close the selected accounts…", permissions=["state"])
    def close(self, request: HttpRequest, queryset: QuerySet[Account]) -> HttpResponse | None:
        return self.ask(request, queryset, CLOSE)

    @admin.action(description="Reopen the selected accounts…", permissions=["state"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[Account]) -> HttpResponse | None:
        return self.ask(request, queryset, REOPEN)

    def shown(self, question: Question, rows: list[Account]) -> dict[str, Any]:  # noqa: ARG002  (one table for all)
        return {"accounts": [(row, account_shape(row.balance)) for row in rows]}

    def seen(self, row: Account) -> str:
        return f"{row.status} {row.frozen} {row.balance.floor} {row.balance.ceiling}"

    def possible(self, row: Account) -> Mapping[str, str]:
        if row.status == AccountStatus.CLOSED:
            return {"reopen": "Reopen"}
        freezes = {"freeze": "Freeze"} if row.frozen != Frozen.BOTH else {}
        thaws = {"unfreeze": "Unfreeze"} if row.frozen != Frozen.NONE else {}
        return freezes | thaws | {"limits": "Limits", "close": "Close account"}


def _limits(row: Account) -> dict[str, Any]:
    shape = account_shape(row.balance)
    return {"floor": shape.floor, "ceiling": shape.ceiling}
