"""The audit trail, to read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from config.api.backoffice.admins import ReadOnlyAdmin
from config.api.backoffice.shown import json_block, moment
from ledger.clients.admin.filters import ClientFilter
from ledger.clients.models import AuditEntry


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Who did what to which object, and why."""

    list_display = ("when", "actor", "action", "object_type", "object_id", "client", "reason")
    list_select_related = ("client",)
    list_filter = (ClientFilter,)
    scanning = frozenset({ClientFilter.parameter_name})
    search_help_text = "The trail of one object: its type and id, such as “clients.apikey 3F9KQ2ZD”."
    fields = ("when", "actor", "action", "object_type", "object_id", "client", "reason", "request_id", "details")

    def find(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:  # noqa: ARG002
        object_type, _, object_id = term.partition(" ")
        return rows.filter(object_type=object_type, object_id=object_id.strip())

    @admin.display(description="at (UTC)")
    def when(self, row: AuditEntry) -> str:
        return moment(row.at)

    @admin.display(description="detail")
    def details(self, row: AuditEntry) -> SafeString:
        return json_block(row.detail)
