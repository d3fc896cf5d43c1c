"""Journals: the bookings themselves."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from config.api.backoffice.admins import ReadOnlyAdmin
from config.api.backoffice.filters import ChoiceFilter, DayFilter
from config.api.backoffice.shown import moment
from ledger.admin.lines import bookings_of
from ledger.clients.admin.filters import ClientFilter
from ledger.domain.receipts import receipt_code, transaction_id_of
from ledger.domain.states import JournalKind
from ledger.models import Journal


class KindFilter(ChoiceFilter):
    title, parameter_name, options = "kind", "kind", tuple(JournalKind)


@admin.register(Journal)
class JournalAdmin(ReadOnlyAdmin):
    """What was booked, line by line."""

    scanning = frozenset({"kind", ClientFilter.parameter_name})
    list_display = ("id", "kind", "external_ref", "client", "entry_count", "posted")
    list_select_related = ("client", "transaction")
    list_filter = (ClientFilter, KindFilter, DayFilter)
    search_help_text = "A journal's id, or the receipt code of its transaction."
    change_form_template = "admin/ledger/journal/change_form.html"
    fields = ("id", "kind", "transaction", "client", "entry_count", "posted", "effective")

    def find(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:  # noqa: ARG002
        identifier = transaction_id_of(term)
        if identifier is not None:
            return rows.filter(external_ref=receipt_code(identifier))
        try:
            return rows.filter(pk=UUID(term))
        except ValueError:
            return rows.none()

    def story(self, request: HttpRequest, row: Journal) -> dict[str, Any]:  # noqa: ARG002  (not every page asks)
        return {"bookings": bookings_of([row])}

    @admin.display(description="posted at (UTC)")
    def posted(self, row: Journal) -> str:
        return moment(row.posted_at)

    @admin.display(description="effective at (UTC)")
    def effective(self, row: Journal) -> str:
        return moment(row.effective_at)
