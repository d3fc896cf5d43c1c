"""Transactions: what was asked, what became of it, and what it booked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from config.api.backoffice.filters import ChoiceFilter, DayFilter, TextFilter
from config.api.backoffice.parts import part_of
from config.api.backoffice.shown import NOTHING, badge, json_block, moment
from config.api.filters import ParametersRefused
from ledger.admin.lines import bookings_of
from ledger.admin.transaction_moves import TransactionMovesAdmin, amount_of, held_minor
from ledger.clients.admin.filters import ClientFilter, is_client_chosen
from ledger.domain.accounts import AccountRef
from ledger.domain.legs import Exchange, Leg
from ledger.domain.money import format_amount
from ledger.domain.receipts import receipt_code, transaction_id_of
from ledger.domain.shapes import AUTOMATIC, MANUAL, MoveShape
from ledger.domain.states import Status
from ledger.errors import failure_shape
from ledger.filters import TransactionTraits
from ledger.kinds import KINDS
from ledger.models import Journal, Transaction
from ledger.queries.accounts import accounts_by_id
from ledger.queries.transactions import events_of, moves_of, reversals_of

JOURNALS_SHOWN_MAX, REVERSALS_SHOWN_MAX = 100, 50


class StatusFilter(ChoiceFilter):
    title, parameter_name, options = "status", "status", tuple(Status)


class TypeFilter(ChoiceFilter):
    title, parameter_name, options = "type", "type", tuple(KINDS)


class TraitsFilter(TextFilter):
    """Whatever else GET /v2/transactions finds a transaction by, written as there."""

    title, parameter_name = "traits, as in the API", "traits"

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        try:
            return TransactionTraits.read(QueryDict(self.text), also=()).narrow(rows)
        except ParametersRefused as error:
            raise IncorrectLookupParameters from error


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the timeline; `after` is the time since the step before it."""

    move: MoveShape
    at: str
    after: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A transaction that takes back another, or failed to."""

    row: Transaction
    amount: str
    created: str


@dataclass(frozen=True, slots=True)
class Moved:
    """One leg of a transaction; `debit` or `credit` is empty."""

    account: AccountRef
    debit: str
    credit: str


@dataclass(frozen=True, slots=True)
class Agreed:
    """What was agreed of a transaction that is more than one amount between two accounts."""

    legs: list[Moved]
    fee: str
    exchange: Exchange | None


@admin.register(Transaction)
class TransactionAdmin(TransactionMovesAdmin):
    """One page tells the whole story of a transaction."""

    leading = MappingProxyType({ClientFilter.parameter_name: "client_id"})
    scanning = frozenset({"status", "type", "traits"})
    list_display = ("receipt_code", "client", "state", "amount", "debit_account", "credit_account", "created", "type")
    list_select_related = ("client", "currency", "debit_account", "credit_account")
    list_filter = (ClientFilter, StatusFilter, TypeFilter, DayFilter, TraitsFilter)
    search_help_text = (
        "A receipt code or an id. With a client chosen on the right also an idempotency key. Traits are written as "
        "parameters of the API are: amount__gte=10&metadata.order=7."
    )
    change_form_template = "admin/ledger/transaction/change_form.html"

    def get_fieldsets(self, request: HttpRequest, obj: Transaction | None = None) -> Any:  # noqa: ARG002
        return () if obj is None else _fieldsets(obj)

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

    def story(self, request: HttpRequest, row: Transaction) -> dict[str, Any]:
        # Looked up by the receipt code, which has an index for every kind of journal.
        journals = Journal.objects.filter(external_ref=row.receipt_code, transaction=row).order_by("id")
        found = list(journals[: JOURNALS_SHOWN_MAX + 1])
        reversals = list(reversals_of(row).order_by("id")[: REVERSALS_SHOWN_MAX + 1])
        history = part_of(request, events_of(row), name="history")
        return super().story(request, row) | {
            "history": history,
            "steps": _steps(moves_of(row, history.rows)),
            "reversals": [_taken(one, row) for one in reversals[:REVERSALS_SHOWN_MAX]],
            "reversals_max": REVERSALS_SHOWN_MAX if len(reversals) > REVERSALS_SHOWN_MAX else None,
            "bookings": bookings_of(found[:JOURNALS_SHOWN_MAX]),
            "shown_max": JOURNALS_SHOWN_MAX if len(found) > JOURNALS_SHOWN_MAX else None,
            "currency": row.currency_id,
            "terms": _agreed(row),
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
        return _money(row, row.amount_minor)

    @admin.display(description="capture")
    def capture_kind(self, row: Transaction) -> str:
        return AUTOMATIC if row.expires_at is None else MANUAL

    @admin.display(description="captured")
    def captured(self, row: Transaction) -> str:
        return _money(row, row.booked_minor)

    @admin.display(description="still held")
    def still_held(self, row: Transaction) -> str:
        return _money(row, held_minor(row))

    @admin.display(description="held until (UTC)")
    def expires(self, row: Transaction) -> str:
        return moment(row.expires_at)

    @admin.display(description="reversed")
    def taken_back(self, row: Transaction) -> str:
        return _money(row, row.reversed_minor)

    @admin.display(description="reverses")
    def original(self, row: Transaction) -> SafeString:
        assert row.reverses_id is not None
        url = reverse("admin:ledger_transaction_change", args=[row.reverses_id])
        return format_html('<a href="{}">{}</a>', url, receipt_code(row.reverses_id))

    @admin.display(description="batch")
    def batch_link(self, row: Transaction) -> SafeString:
        url = reverse("admin:ledger_batch_change", args=[row.batch_id])
        return format_html('<a href="{}">{}</a>', url, row.batch_id)

    @admin.display(description="item")
    def item(self, row: Transaction) -> int | None:
        return row.batch_index

    @admin.display(description="created (UTC)")
    def created(self, row: Transaction) -> str:
        return moment(row.created_at)

    @admin.display(description="execute at (UTC)")
    def execute(self, row: Transaction) -> str:
        return moment(row.execute_at)

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


def _fieldsets(row: Transaction) -> list[Any]:
    """Return the fields of a transaction's page: those that say something of it."""
    failure = [] if row.error_code is None else ["failure"]
    executes = [] if row.execute_at is None else ["execute"]
    parts: list[Any] = [
        (None, {"fields": (("amount", "type", "state"), *failure, ("receipt_code", "id"), ("client", "attempts"))}),
        ("Accounts", {"fields": (("debit_account", "credit_account"), ("user_id", "peer_user_id"))}),
        ("Times", {"fields": (("created", *executes, "effective", "completed"),)}),
    ]
    if row.expires_at is not None:
        parts.append(("Hold", {"fields": (("capture_kind", "expires"), ("captured", "still_held"))}))
    if row.reverses_id is not None:
        parts.append(("Reversal", {"fields": ("original",)}))
    if row.reversed_minor:
        parts.append(("Taken back", {"fields": ("taken_back",)}))
    if row.batch_id is not None:
        parts.append(("Batch", {"fields": (("batch_link", "item"),)}))
    return [*parts, ("As it was asked", {"fields": ("idempotency_key", "reference", "description", "details")})]


def _agreed(row: Transaction) -> Agreed | None:
    legs = row.legs
    if legs.terms is None:
        return None
    found = legs.found(accounts_by_id(legs.account_ids))
    fee = "" if legs.terms.fee_minor is None else _money(row, int(legs.terms.fee_minor))
    return Agreed([_moved(leg) for leg in found], fee, legs.terms.exchange)


def _moved(leg: Leg) -> Moved:
    amount = format_amount(abs(leg.amount_minor), exponent=leg.account.exponent)
    shown = f"{amount} {leg.account.currency}"
    return Moved(leg.account, shown, "") if leg.amount_minor > 0 else Moved(leg.account, "", shown)


def _taken(row: Transaction, original: Transaction) -> Taken:
    return Taken(row, _money(original, row.amount_minor), moment(row.created_at))


def _money(row: Transaction, minor: int) -> str:
    return f"{amount_of(row, minor)} {row.currency_id}"
