"""Batches: what was asked in one request, and what became of each item."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from config.api.backoffice.admins import ReadOnlyAdmin
from config.api.backoffice.filters import ChoiceFilter, DayFilter
from config.api.backoffice.parts import part_of
from config.api.backoffice.shown import badge, moment
from ledger.clients.admin.filters import ClientFilter
from ledger.domain.batches import BatchMode, BatchStatus
from ledger.domain.money import format_amount
from ledger.models import Batch, BatchItem
from ledger.queries.batches import batch_detail, items_of


class StatusFilter(ChoiceFilter):
    title, parameter_name, options = "status", "status", tuple(BatchStatus)


class ModeFilter(ChoiceFilter):
    title, parameter_name, options = "mode", "mode", tuple(BatchMode)


@dataclass(frozen=True, slots=True)
class Item:
    """An item, and where it stands: its transaction's status, `refused` without one, `waiting` until either."""

    row: BatchItem
    state: str
    amount: str
    error: str


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    """What became of the items of a request."""

    leading = MappingProxyType({ClientFilter.parameter_name: "client_id"})
    scanning = frozenset({"status", "mode"})
    list_display = ("id", "client", "state", "mode", "item_count", "waiting_count", "created")
    list_select_related = ("client",)
    list_filter = (ClientFilter, StatusFilter, ModeFilter, DayFilter)
    search_help_text = "A batch's id."
    change_form_template = "admin/ledger/batch/change_form.html"
    fields = (("id", "client"), ("state", "mode"), ("created", "completed"), ("actor", "request_id"))

    def find(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:  # noqa: ARG002
        try:
            return rows.filter(pk=UUID(term))
        except ValueError:
            return rows.none()

    def story(self, request: HttpRequest, row: Batch) -> dict[str, Any]:
        rows = items_of(row).select_related("transaction__currency")
        items = part_of(request, rows, name="items", keyset="index")
        return {
            "counts": batch_detail(row).counts,
            "items": items,
            "shown": [_item(item) for item in items.rows],
        }

    @admin.display(description="status")
    def state(self, row: Batch) -> SafeString:
        return badge(row.status)

    @admin.display(description="created (UTC)")
    def created(self, row: Batch) -> str:
        return moment(row.created_at)

    @admin.display(description="completed (UTC)")
    def completed(self, row: Batch) -> str:
        return moment(row.completed_at)


def _item(row: BatchItem) -> Item:
    if row.transaction is not None:
        made, currency = row.transaction, row.transaction.currency
        amount = f"{format_amount(made.amount_minor, exponent=currency.exponent)} {currency.code}"
        return Item(row, made.status, amount, made.error_code or "")
    if row.error is not None:
        return Item(row, "refused", "", f"{row.error['code']}: {row.error['detail']}")
    return Item(row, "waiting", "", "")
