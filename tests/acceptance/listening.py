"""The settings of relays with a listener that writes down what it hears, and the listener."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from config.settings import *  # noqa: F403

if TYPE_CHECKING:
    from ledger.events.stream import Event

NAME = "diary"
LISTENERS = {NAME: "tests.acceptance.listening.write_down"}


def write_down(events: Sequence[Event]) -> None:
    from ledger.clients.models import AuditEntry

    AuditEntry.objects.bulk_create(
        AuditEntry(
            actor=NAME, action="heard", object_type="event", object_id=str(event.key), detail={"n": event.sequence}
        )
        for event in events
    )
