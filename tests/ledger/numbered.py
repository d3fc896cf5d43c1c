"""Bring the numbering of events to rest."""

from __future__ import annotations

from django.db import connection

from config.localstack.processes import wait_until
from ledger.events.numbering import number_events

BEHIND = "SELECT low_id < coalesce(pg_sequence_last_value('events_outbox_id'), 0) FROM events_numbering"


def at_rest() -> None:
    """Return when no event is looked for any more: whatever is open in the whole server holds that up."""
    assert wait_until(_is_at_rest, timeout_s=60)


def _is_at_rest() -> bool:
    while number_events():
        pass
    with connection.cursor() as cursor:
        cursor.execute(BEHIND)
        (is_behind,) = cursor.fetchone()
    return not is_behind
