"""API keys: staff make them, see them without their secret, and revoke them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import AdminSplitDateTime
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.safestring import SafeString

from config.api.backoffice.admins import KeysetAdmin, request_id_of, staff_actor
from config.api.backoffice.asking import ReasonForm
from config.api.backoffice.shown import NOTHING, badge, moment
from config.runtime.clock import now
from config.runtime.errors import DomainError
from ledger.clients.admin.filters import ClientFilter
from ledger.clients.models import ApiKey
from ledger.clients.scopes import SCOPES
from ledger.clients.services import (
    OVERLAP,
    OVERLAP_MAX,
    check_networks,
    check_scopes,
    create_key,
    revoke_key,
    rotate_key,
)

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[ApiKey]
else:
    _ModelForm = forms.ModelForm


class RotationForm(ReasonForm):
    """How long both keys are taken."""

    overlap_hours = forms.IntegerField(
        min_value=0,
        max_value=int(OVERLAP_MAX.total_seconds() // 3600),
        initial=int(OVERLAP.total_seconds() // 3600),
        help_text="The key that is replaced expires after that.",
    )


class ApiKeyForm(_ModelForm):
    """What a new key may do, from where, and for how long."""

    scopes = forms.MultipleChoiceField(
        choices=[(name, f"{name}: {meaning}") for name, meaning in SCOPES.items()],
        widget=forms.CheckboxSelectMultiple,
    )
    networks = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Address ranges such as 203.0.113.0/24, with spaces between. Empty: from everywhere.",
    )
    expires_at = forms.SplitDateTimeField(
        required=False, widget=AdminSplitDateTime, label="Expires at (UTC)", help_text="Empty: never."
    )

    class Meta:
        model = ApiKey
        fields = ("client", "label", "scopes", "networks", "expires_at")

    def clean_networks(self) -> list[str]:
        try:
            return check_networks(self.cleaned_data["networks"].replace(",", " ").split())
        except DomainError as refusal:
            raise ValidationError(refusal.detail) from refusal

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        expires_at = cleaned.get("expires_at")
        if expires_at is not None and expires_at <= now():
            self.add_error("expires_at", "This moment has passed.")
        if "client" in cleaned and "scopes" in cleaned:
            try:
                check_scopes(tier=cleaned["client"].tier, scopes=cleaned["scopes"])
            except DomainError as refusal:
                self.add_error("scopes", refusal.detail)
        return cleaned


@admin.register(ApiKey)
class ApiKeyAdmin(KeysetAdmin):
    """Keys never change: they are made, replaced and revoked. Their hash is neither read nor shown.

    The list stands in the order of the ids: they are random, and what names a key elsewhere.
    """

    keyset = "key_id"
    form = ApiKeyForm
    autocomplete_fields = ("client",)
    list_display = ("key", "client", "label", "state", "scope_names", "made", "used", "expires")
    list_select_related = ("client",)
    list_filter = (ClientFilter,)
    search_help_text = "The 8 characters after “ch_”."
    actions = ("rotate_key", "revoke_keys")
    change_form_template = "admin/clients/apikey/change_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("secret_hash")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002  (Django's)
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whether staff may end keys: the permission to change them stands for it."""
        return request.user.has_perm("clients.change_apikey")

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        """Whether staff may replace keys: one is made, and one is ended."""
        return request.user.has_perms(["clients.add_apikey", "clients.change_apikey"])

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        if obj is None:
            return ("client", "label", "scopes", "networks", "expires_at")
        facts = ("key", "client", "label", "state", "scope_names", "taken_from", "replaces")
        return (*facts, "made", "used", "expires", "revoked")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else self.get_fields(request, obj)

    def find(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:  # noqa: ARG002
        return rows.filter(key_id=term.upper().removeprefix("CH_")[:8])

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:  # noqa: ARG002
        key, text = create_key(
            client=obj.client,
            scopes=obj.scopes,
            label=obj.label,
            networks=obj.networks,
            expires_at=obj.expires_at,
            actor=staff_actor(request),
            request_id=request_id_of(request),
        )
        obj.pk = key.pk
        request.new_key = text  # type: ignore[attr-defined]  # from here to the answer, and nowhere else

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:  # noqa: ARG002
        text = request.new_key  # type: ignore[attr-defined]  # set by save_model
        return self._made(request, obj, text)

    def _made(self, request: HttpRequest, key: ApiKey, text: str) -> HttpResponse:
        """Show the secret in the answer itself: a redirect would have to keep it in a cookie or a session."""
        context = {**self.admin_site.each_context(request), "title": "The new key", "opts": self.opts, "key": key}
        response = TemplateResponse(request, "admin/clients/apikey/made.html", context | {"text": text})
        add_never_cache_headers(response)
        return response

    @admin.action(description="Replace the selected key…", permissions=["rotate"])
    def rotate_key(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        """Ask why and for how long both are taken, then make the new key and show it."""
        keys = list(queryset.filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME)))
        if len(keys) != 1:
            self.message_user(request, "One key is replaced at a time: choose one.", messages.WARNING)
            return None
        form = RotationForm(request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            return self._ask(request, keys, form, action="rotate_key", verb="Replace")
        try:
            made, text = rotate_key(
                key=keys[0],
                overlap=timedelta(hours=form.cleaned_data["overlap_hours"]),
                actor=staff_actor(request),
                reason=form.cleaned_data["reason"],
                request_id=request_id_of(request),
                now=now(),
            )
        except DomainError as refusal:
            self.message_user(request, refusal.detail, messages.ERROR)
            return None
        return self._made(request, made, text)

    @admin.action(description="Revoke the selected keys…", permissions=["revoke"])
    def revoke_keys(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        """Ask why on a page of its own, then revoke what was ticked, all or none."""
        keys = list(queryset.filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME)))
        form = ReasonForm(request.POST if "confirmed" in request.POST else None)
        if form.is_valid():
            self._revoke(request, keys, form.cleaned_data["reason"])
            return None
        return self._ask(request, keys, form, action="revoke_keys", verb="Revoke")

    def _ask(
        self, request: HttpRequest, keys: list[ApiKey], form: ReasonForm, *, action: str, verb: str
    ) -> HttpResponse:
        list_url = reverse("admin:clients_apikey_changelist")
        context = {**self.admin_site.each_context(request), "title": f"{verb} keys", "opts": self.opts}
        context |= {"rows": keys, "form": form, "action": action, "checkbox_name": ACTION_CHECKBOX_NAME}
        context |= {"verb": verb, "is_danger": True, "list_url": list_url, "back_url": list_url}
        return TemplateResponse(request, f"admin/clients/apikey/{verb.lower()}.html", context)

    def _revoke(self, request: HttpRequest, keys: list[ApiKey], reason: str) -> None:
        actor, request_id, at = staff_actor(request), request_id_of(request), now()
        with transaction.atomic():
            ended = [revoke_key(key=key, actor=actor, reason=reason, request_id=request_id, now=at) for key in keys]
        self.message_user(request, f"Revoked: {sum(ended)}.", messages.SUCCESS)
        if not all(ended):
            self.message_user(request, f"Revoked already before: {len(ended) - sum(ended)}.", messages.WARNING)

    @admin.display(description="key")
    def key(self, row: ApiKey) -> str:
        return str(row)

    @admin.display(description="state")
    def state(self, row: ApiKey) -> SafeString:
        if row.revoked_at is not None:
            return badge("revoked")
        return badge("live" if row.is_live(now()) else "expired")

    @admin.display(description="scopes")
    def scope_names(self, row: ApiKey) -> str:
        return ", ".join(row.scopes) or NOTHING

    @admin.display(description="taken from")
    def taken_from(self, row: ApiKey) -> str:
        return ", ".join(row.networks) or "everywhere"

    @admin.display(description="last used (UTC)")
    def used(self, row: ApiKey) -> str:
        return moment(row.last_used_at) if row.last_used_at else "never"

    @admin.display(description="made (UTC)")
    def made(self, row: ApiKey) -> str:
        return moment(row.created_at)

    @admin.display(description="expires (UTC)")
    def expires(self, row: ApiKey) -> str:
        return moment(row.expires_at) if row.expires_at else "never"

    @admin.display(description="revoked (UTC)")
    def revoked(self, row: ApiKey) -> str:
        return moment(row.revoked_at)
