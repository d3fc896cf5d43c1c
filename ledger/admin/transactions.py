"""Transactions: what was asked, what became of it, and what it booked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from config.api.backoffice.admins import ReadOnlyAdmin
from config.api.backoffice.filters import ChoiceFilter, DayFilter
from config.api.backoffice.shown import NOTHING, badge, json_block, moment
from ledger.admin.lines import bookings_of
from ledger.clients.admin.filters import ClientFilter, is_client_chosen
from ledger.domain.money import format_amount
from ledger.domain.receipts import transaction_id_of
from ledger.domain.shapes import MoveShape
from ledger.domain.states import Status
from ledger.errors import failure_shape
from ledger.kinds import KINDS
from ledger.models import Journal, Transaction
from ledger.queries.transactions import history_of

JOURNALS_SHOWN_MAX = 100


class StatusFilter(ChoiceFilter):
    title, parameter_name, options = "status", "status", tuple(Status)


class TypeFilter(ChoiceFilter):
    title, parameter_name, options = "type", "type", tuple(KINDS)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the timeline; `after` is the time since the step before it."""

    move: MoveShape
    at: str
    after: str


@admin.register(Transaction)
class TransactionAdmin(ReadOnlyAdmin):
    """One page tells the whole story of a transaction."""

    leading = MappingProxyType({ClientFilter.parameter_name: "client_id"})
    scanning = frozenset({"status", "type"})
    list_display = ("receipt_code", "client", "state", "amount", "debit_account", "credit_account", "created", "type")
    list_select_related = ("client", "currency", "debit_account", "credit_account")
    list_filter = (ClientFilter, StatusFilter, TypeFilter, DayFilter)
    search_help_text = "A receipt code or an id. With a client chosen on the right also an idempotency key."
    change_form_template = "admin/ledger/transaction/change_form.html"
    fieldsets = (
        (None, {"fields": (("amount", "type", "state"), "failure", ("receipt_code", "id"), "client")}),
        ("Accounts", {"fields": (("debit_account", "credit_account"), ("user_id", "peer_user_id"))}),
        ("Times", {"fields": (("created", "effective", "completed"),)}),
        ("As it was asked", {"fields": ("idempotency_key", "reference", "description", "details")}),
    )

    def find(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        identifier = transaction_id_of(term)
        if identifier is not None:
            return rows.filter(pk=identifier)
        # An idempotency key may look like an id, and often does.
        exact = Q(idempotency_key=term) if is_client_chosen(request) else Q()
        try:
            exact |= Q(pk=UUID(term))
        except ValueError:
            if not exact:
                hint = "This is no receipt code and no id; a character may be mistyped. Choose a client to find a key."
                self.message_user(request, hint, "warning")
                return rows.none()
        return rows.filter(exact)

    def story(self, request: HttpRequest, row: Transaction) -> dict[str, Any]:  # noqa: ARG002
        # Looked up by the receipt code, which has an index for every kind of journal.
        journals = Journal.objects.filter(external_ref=row.receipt_code, transaction=row).order_by("id")
        found = list(journals[: JOURNALS_SHOWN_MAX + 1])
        return {
            "steps": _steps(history_of(row)),
            "bookings": bookings_of(found[:JOURNALS_SHOWN_MAX]),
            "shown_max": JOURNALS_SHOWN_MAX if len(found) > JOURNALS_SHOWN_MAX else None,
            "currency": row.currency_id,
        }

    @admin.display(description="status")
    def state(self, row: Transaction) -> SafeString:
        return badge(row.status)

    @admin.display(description="error")
    def failure(self, row: Transaction) -> str:
        if row.error_code is None:
            return NOTHING
        return f"{row.error_code}: {failure_shape(row.error_code).detail}"

    @admin.display(description="amount")
    def amount(self, row: Transaction) -> str:
        return f"{format_amount(row.amount_minor, exponent=row.currency.exponent)} {row.currency_id}"

    @admin.display(description="created (UTC)")
    def created(self, row: Transaction) -> str:
        return moment(row.created_at)

    @admin.display(description="effective (UTC)")
    def effective(self, row: Transaction) -> str:
        return moment(row.effective_at)

    @admin.display(description="completed (UTC)")
    def completed(self, row: Transaction) -> str:
        return moment(row.completed_at)

    @admin.display(description="metadata")
    def details(self, row: Transaction) -> SafeString:
        return json_block(row.metadata)


def _steps(moves: list[MoveShape]) -> list[Step]:
    times = [datetime.fromisoformat(move.at) for move in moves]
    passed = [None, *(later - earlier for earlier, later in pairwise(times))]
    return [
        Step(move, moment(at), "" if after is None else f"after {after.total_seconds():,.3f} s")
        for move, at, after in zip(moves, times, passed, strict=True)
    ]
