"""A topic by which others ask a bank to move money, and consumers of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from ledger.events.consuming import GROUP
from ledger.events.models import DeadLetter
from ledger.events.transports.base import Message, Received
from ledger.events.transports.rabbitmq.link import declaring
from ledger.events.transports.rabbitmq.topology import declare_queue
from ledger.events.transports.registry import open_transport
from ledger.models import Transaction
from tests.acceptance.server import Consumer, running
from tests.ledger.consumed import asked, message
from tests.people import Tenant

STOPS_WITHIN_S = 5


@dataclass
class Inbox:
    """A topic of a test's own on a broker; what comes is kept there from the beginning."""

    bank: Tenant
    url: str
    topic: str = field(default_factory=lambda: f"inbound-{uuid4().hex}")

    def __post_init__(self) -> None:
        if self.url.startswith("amqp"):
            with declaring(self.url) as channel:
                declare_queue(channel, self.topic, GROUP)

    @property
    def environment(self) -> dict[str, str]:
        """What a process is told of it."""
        bound = f"{self.topic}?client={self.bank.client.public_id}&source=core"
        return {"EVENTS_URL": self.url, "INBOUND_TOPICS": bound}

    def consumer(self, log: Path, **environment: str) -> Consumer:
        return Consumer(log, **self.environment, **environment)

    def send(self, messages: Iterable[Received]) -> None:
        with closing(open_transport(self.url)) as transport:
            sent = [Message(self.topic, one.key, one.value, one.headers) for one in messages]
            assert transport.publish(sent) == {}

    def outcomes(self) -> dict[str, str]:
        """Return the status of each transaction that a message has asked for, by the message's id."""
        found = Transaction.objects.filter(client=self.bank.client, idempotency_key__startswith="core:")
        rows = found.values_list("idempotency_key", "status")
        return {str(key).removeprefix("core:"): status for key, status in rows}

    def letters(self) -> list[DeadLetter]:
        return list(DeadLetter.objects.filter(consumer=f"inbound:{self.topic}").order_by("created_at", "id"))


@contextmanager
def consuming(consumer: Consumer) -> Iterator[None]:
    """Run a consumer, and tell it to stop at the end, so that its group need not wait until it is missed."""
    with running(consumer):
        yield
        assert consumer.stop(within_s=STOPS_WITHIN_S) == 0


def payments(prefix: str, count: int, *, key: str = "", amount: str = "1.00", **more: Any) -> list[Received]:
    """Return messages that ask for payments of alice to bob, with ids in their order."""
    return [message(asked(amount, **more), id=f"{prefix}-{number}", key=key) for number in range(count)]


def all_completed(prefix: str, count: int) -> dict[str, str]:
    """Return the outcomes of payments that were all booked."""
    return {f"{prefix}-{number}": "completed" for number in range(count)}
