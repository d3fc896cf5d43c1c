"""Record what happened, in the commit that makes it true. Call inside a database transaction, after the locks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from django.db import transaction

from config.runtime.arrays import numbers, texts, uuids
from config.runtime.ids import uuid7s
from ledger.events.wake import wake_relay

INSERT = """
INSERT INTO events_outboxevent (event_id, client_id, type, key, data, trace)
SELECT event_id, client_id, type, key, data, trace
FROM unnest(
    %(event_id)s::uuid[], %(client_id)s::bigint[], %(type)s::text[], %(key)s::uuid[], %(data)s::text[],
    %(trace)s::text[]
) AS happened (event_id, client_id, type, key, data, trace)
"""


class Happened(NamedTuple):
    """One event: `key` is the account (or object) whose events keep their order, `data` is JSON text.

    `trace` is the W3C traceparent of who caused it, or empty.
    """

    client_id: int
    type: str
    key: UUID
    data: str
    trace: str = ""


def record_events(cursor: psycopg.Cursor[Any], events: Sequence[Happened]) -> None:
    """Write outbox rows through `cursor`, in the order given; the relay hears of them after the commit.

    The database transaction must have its number (xid) already, as one has that has locked or written a row: the ids of
    events are drawn here, and the numbering passes over an id once all transactions have ended that had a number when
    it was drawn (ledger/events/numbering.py).
    """
    if events:
        client_ids, types, keys, data, traces = zip(*events, strict=True)
        cursor.execute(
            INSERT,
            {
                "event_id": uuids(uuid7s(len(events))),
                "client_id": numbers(client_ids),
                "type": texts(types),
                "key": uuids(keys),
                "data": texts(data),
                "trace": texts(traces),
            },
        )
        transaction.on_commit(wake_relay)
