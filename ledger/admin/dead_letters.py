"""Dead letters: messages that could not be handled, with what they hold and what was tried since."""

from __future__ import annotations

from contextlib import suppress
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from config.api.backoffice.filters import ChoiceFilter, DayFilter, TextFilter
from config.api.backoffice.parts import part_of
from config.api.backoffice.shown import NOTHING, badge, moment
from ledger.admin.dead_letter_moves import DeadLetterMovesAdmin
from ledger.admin.messages import body_of, short, visible
from ledger.clients.admin.filters import ClientFilter
from ledger.events.dead_letters import has_key, without_messages
from ledger.events.models import DeadLetter, LetterStatus
from ledger.queries.dead_letters import audit_of, message_of


class StatusFilter(ChoiceFilter):
    title, parameter_name, options = "status", "status", tuple(LetterStatus)


class ConsumerFilter(TextFilter):
    title, parameter_name = "consumer (exact)", "consumer"

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.filter(consumer=self.text)


class CodeFilter(TextFilter):
    title, parameter_name = "error code (exact)", "error_code"

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.filter(error_code=self.text)


@admin.register(DeadLetter)
class DeadLetterAdmin(DeadLetterMovesAdmin):
    """What could not be handled; nobody edits it, staff have it handled again or give it up."""

    leading = MappingProxyType({ClientFilter.parameter_name: "client_id"})
    scanning = frozenset({"status", "consumer", "error_code"})
    list_display = ("recorded", "state", "consumer", "error_code", "short_key", "tries", "client")
    list_select_related = ("client",)
    list_filter = (StatusFilter, ClientFilter, ConsumerFilter, CodeFilter, DayFilter)
    search_help_text = "A letter's id, the message's id, or its key, such as an account's id."
    change_form_template = "admin/events/deadletter/change_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        return without_messages(super().get_queryset(request))

    def get_fieldsets(self, request: HttpRequest, obj: DeadLetter | None = None) -> Any:  # noqa: ARG002
        return () if obj is None else _fieldsets(obj)

    def find(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:  # noqa: ARG002
        exact = Q(event_id=term) | Q(has_key(term))
        with suppress(ValueError):
            exact |= Q(pk=UUID(term))
        return rows.filter(exact)

    def story(self, request: HttpRequest, row: DeadLetter) -> dict[str, Any]:
        message = message_of(row)
        history = part_of(request, audit_of(row), name="history")
        return super().story(request, row) | {
            "headers": sorted((visible(name), visible(value)) for name, value in message.headers.items()),
            "body": body_of(bytes(row.body), message.text),
            "history": history,
            "steps": [(entry, moment(entry.at), entry.detail.get("error", "")) for entry in history.rows],
        }

    @admin.display(description="status")
    def state(self, row: DeadLetter) -> SafeString:
        return badge(row.status)

    @admin.display(description="recorded (UTC)")
    def recorded(self, row: DeadLetter) -> str:
        return moment(row.created_at)

    @admin.display(description="failed last (UTC)")
    def failed(self, row: DeadLetter) -> str:
        return moment(row.failed_at)

    @admin.display(description="key")
    def short_key(self, row: DeadLetter) -> str:
        return short(row.key)

    @admin.display(description="attempts + replays")
    def tries(self, row: DeadLetter) -> str:
        return f"{row.attempts} + {row.replay_count}"

    @admin.display(description="partition and offset")
    def place(self, row: DeadLetter) -> str:
        return row.offset if row.partition is None else f"{row.partition}: {row.offset}"

    @admin.display(description="error")
    def failure(self, row: DeadLetter) -> str:
        return f"{row.error_code}: {row.error}"

    @admin.display(description="error of the last replay")
    def failure_since(self, row: DeadLetter) -> str:
        return row.last_error

    @admin.display(description="resolved (UTC)")
    def resolved(self, row: DeadLetter) -> str:
        return moment(row.resolved_at)

    @admin.display(description="by")
    def resolver(self, row: DeadLetter) -> str:
        return row.resolved_by

    @admin.display(description="why")
    def why(self, row: DeadLetter) -> str:
        return row.reason or NOTHING


def _fieldsets(row: DeadLetter) -> list[Any]:
    """Return the fields of a letter's page: those that say something of it."""
    since = ["failure_since"] if row.last_error else []
    parts: list[Any] = [
        (
            None,
            {"fields": (("state", "consumer"), "failure", *since, ("tries", "recorded", "failed"), ("id", "client"))},
        )
    ]
    if row.resolved_at is not None:
        parts.append(("Resolved", {"fields": (("resolved", "resolver"), "why")}))
    where = ("topic", "place"), ("event_id", "key"), "trace"
    return [*parts, ("Where it came from", {"fields": where})]
