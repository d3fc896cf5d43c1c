"""Transactions that wait, move and stand somewhere, and what the status tracker tells of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.models import F
from prometheus_client import REGISTRY

from config.runtime.ids import uuid7
from config.runtime.redis import redis_client
from ledger.domain.receipts import receipt_code
from ledger.models import Transaction
from ledger.queries import accounts
from ledger.queries.transactions import transaction_shape
from ledger.status import status_of, tracker
from ledger.status.shape import StatusShape
from ledger.status.tracker import StatusTracker
from tests.apart import DATABASE
from tests.people import URL, Tenant, body
from tests.scratch import pointed_at, scratch_database

TRANSFER = body(credit_account="cash:USD")


@contextmanager
def copied_books() -> Iterator[None]:
    """Work on a copy: statuses that are moved by hand have no journals, and the books would not hold any more."""
    connections.close_all()
    default = connections["default"]
    assert isinstance(default, DatabaseWrapper)
    default.close_pool()
    with scratch_database(template=DATABASE) as copy, pointed_at(copy):
        try:
            yield
        finally:
            connections.close_all()
    # The next client of the shared books has the number that one of the copy's had.
    accounts._remembered.clear()
    accounts._remembered_by_id.clear()


def accept(bank: Tenant) -> UUID:
    """Return the id of a transaction of alice's that waits to be held: version 1, of which nothing is known yet."""
    answer = bank.post(URL, TRANSFER | {"capture": "manual"}, Prefer="respond-async")
    assert answer.status_code == 202
    transaction_id = UUID(answer.json()["id"])
    forget(bank, transaction_id)
    return transaction_id


def forget(bank: Tenant, transaction_id: UUID) -> None:
    """Let nothing but the database know where a transaction stands."""
    tracker._tracker._writer.flush()
    tracker._tracker._memory.begin_process()
    redis_client(settings.REDIS_URL).delete(name(bank, transaction_id))


def name(bank: Tenant, transaction_id: UUID) -> str:
    """Return the key in Redis."""
    return f"status:{bank.client.pk}:{transaction_id.hex}"


def move(transaction_id: UUID, *statuses: str) -> StatusShape:
    """Let the stored transaction go through these; return what is then true of it."""
    rows = Transaction.objects.filter(pk=transaction_id)
    for status in statuses:
        sums: dict[str, Any] = {}
        if status == "completed":
            sums["booked_minor"] = F("amount_minor")
        if status == "reversed":
            sums["reversed_minor"] = F("amount_minor")
        error = "timeout" if status == "failed" else None
        assert rows.update(status=status, version=F("version") + 1, error_code=error, **sums) == 1
    return stored(transaction_id)


def stored(transaction_id: UUID) -> StatusShape:
    return status_of(transaction_shape(Transaction.objects.get(pk=transaction_id)))


def made_up(status: str = "completed", version: int = 2) -> StatusShape:
    identifier = uuid7()
    return StatusShape(
        id=identifier,
        receipt_code=receipt_code(identifier),
        status=status,
        version=version,
        error=None,
        created_at="2026-11-21T00:00:00.000000Z",
        completed_at=None,
    )


def version_in(process: StatusTracker, bank: Tenant, transaction_id: UUID) -> int:
    """Return the version that Redis holds, 0 for none."""
    seen = process._store.read((bank.client.pk, transaction_id))
    return 0 if seen is None else seen.shape.version


@contextmanager
def answered_by(**sources: int) -> Iterator[None]:
    """Assert which source answered the look-ups of the block, and how often."""

    def counted() -> dict[str, float]:
        return {
            source: REGISTRY.get_sample_value("status_tracker_lookups_total", {"source": source}) or 0.0
            for source in ("memory", "redis", "database")
        }

    before = counted()
    yield
    assert {source: count - before[source] for source, count in counted().items() if count != before[source]} == sources
