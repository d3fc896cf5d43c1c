"""Messages that somebody gave up."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from ledger.events.dead_letters import Letter, record_dead_letters
from ledger.events.models import DeadLetter
from tests.people import Tenant

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def letter(bank: Tenant | None, **other: Any) -> Letter:
    """Return a message that no handler took; its consumer and its offset are this test's own."""
    fields = {
        "consumer": f"inbound:{uuid4()}",
        "client_id": None if bank is None else bank.client.pk,
        "topic": "transactions.inbound",
        "partition": 3,
        "offset": str(uuid4().int % 10**18),
        "key": "users:alice:USD",
        "headers": {"ce_type": "payment.asked", "authorization": "Bearer of-the-producer"},
        "body": b'{"amount": "1.00"}',
        "event_id": f"order-{uuid4()}",
        "error_code": "account_unknown",
        "error": "The client has no account with this id or path.",
        "attempts": 1,
        "trace": TRACE,
    }
    return Letter(**(fields | other))


def recorded(bank: Tenant | None, **other: Any) -> DeadLetter:
    return DeadLetter.objects.get(pk=record(letter(bank, **other))[0])


def record(*letters: Letter) -> list[UUID]:
    with transaction.atomic():
        return record_dead_letters(letters)
