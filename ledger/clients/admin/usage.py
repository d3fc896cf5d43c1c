"""Which client asks for what of the API, to read."""

from __future__ import annotations

from django.contrib import admin

from config.api.backoffice.admins import ReadOnlyAdmin
from config.api.backoffice.filters import ChoiceFilter
from ledger.clients.admin.filters import ClientFilter
from ledger.clients.models import RouteUse


class VersionFilter(ChoiceFilter):
    title, parameter_name, options = "version", "version", ("v1", "v2")


@admin.register(RouteUse)
class RouteUseAdmin(ReadOnlyAdmin):
    """Requests by day, client and operation; `api_usage` adds them up."""

    list_display = ("day", "client", "operation", "count")
    list_select_related = ("client",)
    list_filter = (ClientFilter, VersionFilter)
    scanning = frozenset({"client", "version"})
    search_fields = ()  # type: ignore[assignment]  # no box: filters are enough
    fields = ("day", "client", "version", "operation", "count")
