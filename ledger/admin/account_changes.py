"""What staff do to accounts: each action asks why on a page that shows what it will change, and says how it went."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from config.api.backoffice.admins import ReadOnlyAdmin, request_id_of, staff_actor
from config.runtime.errors import DomainError
from ledger.domain.accounts import Frozen
from ledger.models import Account, Balance
from ledger.queries.accounts import account_shape
from ledger.services.account_changes import (
    Changed,
    change_limits,
    close_account,
    freeze_account,
    reopen_account,
    unfreeze_account,
)


class ReasonForm(forms.Form):
    """Why an account changes."""

    reason = forms.CharField(max_length=500, widget=forms.Textarea(attrs={"rows": 3}))


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


class AccountChangesAdmin(ReadOnlyAdmin):
    """The actions; who has the permission to change accounts may take them, and nobody edits an account otherwise."""

    actions = ("freeze", "unfreeze", "limits", "close", "reopen")

    def has_state_permission(self, request: HttpRequest) -> bool:
        """Whether staff may freeze, close and limit accounts."""
        return request.user.has_perm("ledger.change_account")

    @admin.action(description="Freeze the selected accounts…", permissions=["state"])
    def freeze(self, request: HttpRequest, queryset: QuerySet[Account]) -> HttpResponse | None:
        return self._ask(request, _chosen(request, queryset), "Freeze", SidesForm(_sent(request)), freeze_account)

    @admin.action(description="Unfreeze the selected accounts…", permissions=["state"])
    def unfreeze(self, request: HttpRequest, queryset: QuerySet[Account]) -> HttpResponse | None:
        return self._ask(request, _chosen(request, queryset), "Unfreeze", SidesForm(_sent(request)), unfreeze_account)

    @admin.action(description="Close the selected accounts…", permissions=["state"])
    def close(self, request: HttpRequest, queryset: QuerySet[Account]) -> HttpResponse | None:
        return self._ask(request, _chosen(request, queryset), "Close", ReasonForm(_sent(request)), close_account)

    @admin.action(description="Reopen the selected accounts…", permissions=["state"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[Account]) -> HttpResponse | None:
        return self._ask(request, _chosen(request, queryset), "Reopen", ReasonForm(_sent(request)), reopen_account)

    @admin.action(description="Change the limits of the selected account…", permissions=["state"])
    def limits(self, request: HttpRequest, queryset: QuerySet[Account]) -> HttpResponse | None:
        rows = _chosen(request, queryset)
        if len(rows) != 1:
            self.message_user(request, "Limits are those of one account: choose one.", messages.WARNING)
            return None
        shape = account_shape(rows[0])
        form = LimitsForm(_sent(request), initial={"floor": shape.floor, "ceiling": shape.ceiling})
        return self._ask(request, rows, "Change the limits of", form, change_limits)

    def _ask(
        self, request: HttpRequest, rows: list[Balance], verb: str, form: ReasonForm, service: Callable[..., Changed]
    ) -> HttpResponse | None:
        """Show what is to change and ask why; once that is answered, do it. `form` has the arguments of `service`."""
        if form.is_valid():
            self._do(request, rows, partial(service, **form.cleaned_data))
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb} accounts",
            "opts": self.opts,
            "form": form,
        }
        context |= {"verb": verb, "action": request.POST["action"], "checkbox_name": ACTION_CHECKBOX_NAME}
        context["accounts"] = [(row.account, account_shape(row)) for row in rows]
        return TemplateResponse(request, "admin/ledger/account/ask.html", context)

    def _do(self, request: HttpRequest, rows: list[Balance], change: Callable[..., Changed]) -> None:
        """Change one after the other: what is refused keeps no other from being changed."""
        done, actor, request_id = 0, staff_actor(request), request_id_of(request)
        for row in rows:
            client_id, account_id = row.account.client_id, row.account.public_id
            try:
                change(client_id=client_id, account_id=account_id, actor=actor, request_id=request_id)
            except DomainError as refusal:
                self.message_user(request, f"{row.account.path}: {refusal.detail}", messages.ERROR)
            else:
                done += 1
        if done:
            self.message_user(request, f"Changed: {done}.", messages.SUCCESS)


def _chosen(request: HttpRequest, queryset: QuerySet[Account]) -> list[Balance]:
    """Return what was ticked, never all that the list could show."""
    ticked = queryset.filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME)).values("pk")
    rows = Balance.objects.filter(account__in=ticked).select_related("account__currency", "account__client")
    return list(rows.order_by("account__public_id"))


def _sent(request: HttpRequest) -> Any:
    """Return what the page that asks has sent, None before it was shown."""
    return request.POST if "confirmed" in request.POST else None
