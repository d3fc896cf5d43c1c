"""Messages of a test's own, and a broker that is in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

from ledger.api.inbound import execute
from ledger.events.consumer import Consumer
from ledger.events.in_hand import Binding, Bound
from ledger.events.transports.base import Received, TransportAway
from tests.people import Tenant, body

_offsets = count(1)


@dataclass
class Shelf:
    """A source: what is laid on it comes, and comes again until it is done."""

    laid: list[Received] = field(default_factory=list)
    done_with: list[Received] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    is_away: bool = False

    def poll(self, *, size: int, timeout_s: float) -> list[Received]:
        if self.is_away:
            raise TransportAway("Nobody is there.")
        found = [one for one in self.laid if one.offset not in self.given][:size]
        self.given |= {one.offset for one in found}
        return found

    def done(self, received: Sequence[Received]) -> None:
        self.done_with += received
        self.laid = [one for one in self.laid if one not in received]

    def stay(self) -> None:
        pass

    def close(self) -> None:
        pass

    def restart(self) -> None:
        """Forget what was given: its consumer has died."""
        self.laid = [one._replace(is_again=one.is_again or one.offset in self.given) for one in self.laid]
        self.given.clear()


def message(data: Any, *, id: str = "", key: str = "", topic: str = "", **more: Any) -> Received:  # noqa: A002
    """Return a message in structured mode."""
    event = {"specversion": "1.0", "id": id or str(uuid4()), "source": "/bank/core", "type": "payment.asked"}
    value = json.dumps(event | more | {"data": data}).encode()
    headers = {"content-type": "application/cloudevents+json"}
    return Received(topic or "transactions.inbound", 3, str(next(_offsets)), key, value, headers, None)


def asked(amount: str = "1.00", **more: Any) -> dict[str, Any]:
    """Return what alice asks for: a body of POST /v2/transactions."""
    return body(amount, **more)


def consumer_of(bank: Tenant, shelf: Shelf, handle: Any = execute) -> Consumer:
    topic = f"t{uuid4().hex[:12]}"
    for index, one in enumerate(shelf.laid):
        shelf.laid[index] = one._replace(topic=topic)
    return Consumer(shelf, {topic: Bound(Binding(topic, bank.client.pk, "core"), handle)})
