"""The whole service behind PgBouncer in transaction mode: sessions are anybody's, and nothing may depend on one."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from config.localstack.processes import wait_until
from ledger.events.models import EventPosition
from tests.acceptance.pooler import pgbouncer
from tests.acceptance.server import Relay, Schedule, Server, Worker, running
from tests.ledger.audit import offences
from tests.ledger.followed import CURSORS, execute
from tests.people import URL, Tenant, body


class Service(NamedTuple):
    """A web server, and a bank that uses it."""

    base_url: str
    bank: Tenant

    def call(self, path: str, data: Any = None, **headers: str) -> Any:
        sent = {"Authorization": f"Bearer {self.bank.key}", "Idempotency-Key": str(uuid4()), **headers}
        asked = urllib.request.Request(f"{self.base_url}{path}", headers=sent)
        if data is not None:
            asked.data = json.dumps(data).encode()
            asked.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.load(answer)


@pytest.fixture
def pooled(bank: Tenant, tmp_path: Path) -> Iterator[Service]:
    bank.person("alice", holding="10.00")
    bank.person("bob")
    with pgbouncer() as environment:
        environment |= {"EVENTS_URL": "null:"}
        server = Server(log=tmp_path / "web.log", **environment)  # type: ignore[arg-type]  # all are texts
        others = [kind(tmp_path / f"{kind.__name__}.log", **environment) for kind in (Worker, Relay, Schedule)]
        with running(server, *others):
            yield Service(server.base_url, bank)


def test_money_moves_and_is_told_of_behind_a_pooler(pooled: Service) -> None:
    waited = [pooled.call(URL, body("0.10"), Prefer="wait=5") for _ in range(20)]
    accepted = [pooled.call(URL, body("0.10")) for _ in range(20)]
    batch = pooled.call(f"{URL}/batch", {"items": [body("0.10") for _ in range(10)]})
    held = pooled.call(URL, body("0.10", capture="manual"), Prefer="wait=5")
    pooled.call(f"{URL}/{held['id']}/capture", {})
    assert {one["status"] for one in waited} == {"completed"}
    assert batch["counts"]["completed"] == 10

    def are_final() -> bool:
        return all(pooled.call(f"{URL}/{one['id']}")["status"] == "completed" for one in accepted)

    assert wait_until(are_final, timeout_s=20)
    assert pooled.bank.posted(pooled.bank.account("users:bob:USD")) == 510

    def told() -> int:
        return len(pooled.call("/v2/events?types=transaction.completed&limit=200")["data"])

    assert wait_until(lambda: told() == 52, timeout_s=20)
    # Its lanes are locks of a session past the pooler.
    last = EventPosition.objects.filter(client_id=pooled.bank.client.pk).latest("position").position
    assert wait_until(lambda: execute(CURSORS, "transport:null")[0][0] >= last, timeout_s=20)
    assert not offences(pooled.bank.client.pk)
