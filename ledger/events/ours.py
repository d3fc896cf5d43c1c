"""Which messages are our own: those that tell of clients of this installation, whose ids no other has."""

from __future__ import annotations

import re
from collections.abc import Iterable
from uuid import UUID

from ledger.clients.models import Client
from ledger.events.envelopes import SOURCE

_OF_CLIENT = re.compile(rf"/{SOURCE}/clients/([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})")
# A client is never deleted.
_known: set[UUID] = set()


def own_sources(sources: Iterable[str]) -> set[str]:
    """Return those of these CloudEvents sources under which this installation tells of its clients."""
    found = {source: UUID(match[1]) for source in set(sources) if (match := _OF_CLIENT.fullmatch(source))}
    if unknown := set(found.values()) - _known:
        _known.update(Client.objects.filter(public_id__in=unknown).values_list("public_id", flat=True))
    return {source for source, client in found.items() if client in _known}
