"""The filter by client, which other apps' lists use as well."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from config.api.backoffice.filters import TextFilter
from ledger.clients.models import Client


class ClientFilter(TextFilter):
    """The rows of the client with this name: typed, because there may be thousands."""

    title = "client (exact name)"
    parameter_name = "client"

    @cached_property
    def client(self) -> Client | None:
        """The client that is named, looked up once a page."""
        return Client.objects.filter(name=self.text).first()

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Ask for a range of one: after an equality PostgreSQL may walk the table's key past everybody else's rows."""
        if self.client is None:
            return rows.none()
        return rows.filter(client_id__gte=self.client.pk, client_id__lte=self.client.pk)


def is_client_chosen(request: HttpRequest) -> bool:
    """Whether the list shows one client: paths and idempotency keys are unique, and indexed, only within one."""
    return bool(request.GET.get(ClientFilter.parameter_name, "").strip())
