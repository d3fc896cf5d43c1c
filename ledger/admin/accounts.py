"""Accounts with their balances, and the book of each."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from config.api.backoffice.filters import ChoiceFilter
from config.api.backoffice.parts import part_of
from config.api.backoffice.shown import NOTHING, badge, json_block, moment
from ledger.admin.account_changes import AccountChangesAdmin
from ledger.admin.lines import lines_of
from ledger.clients.admin.filters import ClientFilter, is_client_chosen
from ledger.domain.accounts import AccountKind, AccountStatus, Frozen
from ledger.domain.money import format_amount
from ledger.models import Account
from ledger.queries.accounts import change_shape, changes_of
from ledger.queries.transactions import entries_of

LINES_PER_PAGE = 50
_VERSION = re.compile(r"[0-9]{1,18}", re.ASCII)


class KindFilter(ChoiceFilter):
    title, parameter_name, options = "kind", "kind", tuple(AccountKind)


class StatusFilter(ChoiceFilter):
    title, parameter_name, options = "status", "status", tuple(AccountStatus)


class FrozenFilter(ChoiceFilter):
    title, parameter_name, options = "frozen sides", "frozen", tuple(Frozen)


@admin.register(Account)
class AccountAdmin(AccountChangesAdmin):
    """Where money stands. The lists follow the public id, which has an index within the client."""

    keyset = "public_id"
    leading = MappingProxyType({ClientFilter.parameter_name: "client_id"})
    scanning = frozenset({"kind", "status", "frozen"})
    list_display = ("path", "condition", "posted", "held", "available", "kind", "client")
    list_select_related = ("client", "currency", "balance")
    list_filter = (ClientFilter, KindFilter, StatusFilter, FrozenFilter)
    search_help_text = "An account's id. With a client chosen on the right also a path or a user's id."
    change_form_template = "admin/ledger/account/change_form.html"
    fieldsets = (
        (None, {"fields": (("path", "public_id"), ("client", "user_id"), ("kind", "condition", "opened"))}),
        ("Balance, on its normal side", {"fields": (("posted", "held", "available"), ("floor", "ceiling"))}),
        ("Metadata", {"fields": ("details",)}),
    )

    def find(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        # A path or a user's id may look like an account's id.
        exact = Q(path=term) | Q(user_id=term) if is_client_chosen(request) else Q()
        try:
            exact |= Q(public_id=UUID(term))
        except ValueError:
            if not exact:
                self.message_user(request, "This is no id. Choose a client to find a path or a user.", "warning")
                return rows.none()
        return rows.filter(exact)

    def story(self, request: HttpRequest, row: Account) -> dict[str, Any]:
        """Return the page of the book whose newest line is `?version=`: versions have no gaps, so a page is a range."""
        version, newest = request.GET.get("version", ""), row.balance.version
        top = min(int(version), newest) if _VERSION.fullmatch(version) else newest
        lines = entries_of(row).filter(account_version__lte=top, account_version__gt=top - LINES_PER_PAGE)
        lines = lines.select_related("journal", "account__currency").order_by("-account_version")
        history = part_of(request, changes_of(row), name="history", keyset="-id")
        return super().story(request, row) | {
            "lines": lines_of(lines),
            "line_count": newest,
            "older": top - LINES_PER_PAGE if top > LINES_PER_PAGE else None,
            "newer": min(top + LINES_PER_PAGE, newest) if top < newest else None,
            "history": history,
            "changes": [(change_shape(entry), moment(entry.at)) for entry in history.rows],
        }

    @admin.display(description="posted")
    def posted(self, row: Account) -> str:
        return _amount(row, row.balance.posted_minor)

    @admin.display(description="held")
    def held(self, row: Account) -> str:
        return _amount(row, row.balance.held_minor)

    @admin.display(description="available")
    def available(self, row: Account) -> str:
        return _amount(row, row.balance.available_minor)

    @admin.display(description="floor")
    def floor(self, row: Account) -> str:
        return NOTHING if row.balance.floor is None else _amount(row, row.balance.floor)

    @admin.display(description="ceiling")
    def ceiling(self, row: Account) -> str:
        return NOTHING if row.balance.ceiling is None else _amount(row, row.balance.ceiling)

    @admin.display(description="state")
    def condition(self, row: Account) -> SafeString:
        return badge(row.status) if row.frozen == Frozen.NONE else format_html("{} {}", badge("frozen"), row.frozen)

    @admin.display(description="opened (UTC)")
    def opened(self, row: Account) -> str:
        return moment(row.created_at)

    @admin.display(description="metadata")
    def details(self, row: Account) -> SafeString:
        return json_block(row.metadata)


def _amount(row: Account, minor: int) -> str:
    return f"{format_amount(minor, exponent=row.currency.exponent)} {row.currency_id}"
