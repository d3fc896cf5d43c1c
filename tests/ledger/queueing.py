"""What stands in the posting queue, and ways to put something there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from config.runtime.clock import now
from config.runtime.ids import uuid7
from ledger.domain.legs import pair
from ledger.models import QueuedPosting, Transaction
from ledger.posting.accept import accept
from ledger.posting.intents import Intent
from ledger.queries.accounts import find_accounts
from ledger.services.posting import post_due
from tests.apart import DATABASE
from tests.conftest import owner_connection
from tests.people import URL, Tenant


def send(tenant: Tenant, sent: Any, key: str | None = None) -> Any:
    """Ask for it without waiting for its booking."""
    return tenant.post(URL, sent, key=key, Prefer="respond-async")


def intent(tenant: Tenant, debit: str = "users:alice:USD", credit: str = "users:bob:USD", **more: Any) -> Intent:
    """Return what the service makes of a request; 1.00 from alice to bob, unless told otherwise."""
    accounts = find_accounts(tenant.client.pk, (debit, credit))
    fields: dict[str, Any] = {"id": uuid7(), "client_id": tenant.client.pk, "type": "transfer", "actor": "test"}
    fields |= {"amount_minor": 100} | more
    fields |= {"legs": pair(accounts[debit], accounts[credit], fields["amount_minor"])}
    return Intent(**fields)


def accepted(intents: list[Intent]) -> list[UUID]:
    """Accept them in commits of fifty and return their ids, which must not be refused."""
    outcomes = [outcome for start in range(0, len(intents), 50) for outcome in accept(intents[start : start + 50])]
    assert all(outcome.transaction for outcome in outcomes)
    return [one.id for one in intents]


def emptied() -> None:
    """Post whatever earlier tests have left in the queue."""
    while post_due(0):
        pass


def due_now(*ids: UUID) -> None:
    """Let what waits for its next attempt, or its time, wait no more."""
    QueuedPosting.objects.filter(pk__in=ids).update(next_attempt_at=now())


def statuses(tenant: Tenant) -> dict[str, int]:
    """Return how many transfers of a client have each status."""
    found: dict[str, int] = {}
    for status in Transaction.objects.filter(client=tenant.client, type="transfer").values_list("status", flat=True):
        found[status] = found.get(status, 0) + 1
    return found


def messages_of(actor: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Keep an actor's messages from the queue; return those that this thread sends, and not a late nudge's."""
    sent: list[tuple[Any, ...]] = []
    here = threading.get_ident()

    def send(*arguments: Any) -> None:
        if threading.get_ident() == here:
            sent.append(arguments)

    monkeypatch.setattr(actor, "send", send)
    return sent


@contextmanager
def locked_table(name: str) -> Iterator[psycopg.Connection]:
    """Keep everybody from a table."""
    with owner_connection(DATABASE) as owner:
        owner.execute("BEGIN")
        owner.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(name)))
        yield owner
        owner.execute("ROLLBACK")
