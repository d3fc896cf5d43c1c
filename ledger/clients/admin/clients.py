"""Clients: staff add them and change their tier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from config.api.backoffice.admins import KeysetAdmin, request_id_of, staff_actor
from config.api.backoffice.shown import moment
from ledger.clients.models import Client
from ledger.clients.services import change_tier, create_client

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Client]
else:
    _ModelForm = forms.ModelForm


class TierForm(_ModelForm):
    """The tier of a client that stands, and why it changes."""

    reason = forms.CharField(max_length=500, widget=forms.Textarea(attrs={"rows": 2}))

    class Meta:
        model = Client
        fields = ("tier",)


@admin.register(Client)
class ClientAdmin(KeysetAdmin):
    """Tenants. Nobody deletes one: the books name it."""

    list_display = ("name", "tier", "public_id", "since")
    search_help_text = "The beginning of a name, or an id."
    change_form_template = "admin/clients/client/change_form.html"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002  (Django's)
        return False

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **({"form": TierForm} if change else {}) | kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ["name", "tier"]
        reason = ["reason"] if self.has_change_permission(request, obj) else []
        return ["name", "public_id", "since", "tier", *reason]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        return () if obj is None else ("name", "public_id", "since")

    def find(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:  # noqa: ARG002
        try:
            return rows.filter(public_id=UUID(term))
        except ValueError:
            return rows.filter(name__startswith=term)

    def save_model(self, request: HttpRequest, obj: Client, form: Any, change: bool) -> None:
        actor, request_id = staff_actor(request), request_id_of(request)
        if not change:
            made = create_client(name=obj.name, tier=obj.tier, actor=actor, request_id=request_id)
            obj.pk, obj.public_id = made.pk, made.public_id
            return
        reason = form.cleaned_data["reason"]
        change_tier(client_id=obj.pk, tier=obj.tier, actor=actor, reason=reason, request_id=request_id)

    @admin.display(description="since (UTC)")
    def since(self, row: Client) -> str:
        return moment(row.created_at)
