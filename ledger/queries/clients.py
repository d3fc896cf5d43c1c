"""Which client is meant."""

from __future__ import annotations

from uuid import UUID

from ledger.clients.models import Client


def find_client(called: str) -> Client | None:
    """Return the client of this name, or else of this public id."""
    named = Client.objects.filter(name=called).first()
    return named or _of_id(called)


def _of_id(text: str) -> Client | None:
    try:
        public_id = UUID(text)
    except ValueError:
        return None
    return Client.objects.filter(public_id=public_id).first()
