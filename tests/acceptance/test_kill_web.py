"""kill -9 of the web process under load: what was acknowledged stands, what was not is done once when asked again."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from config.localstack.ports import HOST, free_port
from config.localstack.processes import wait_until
from config.localstack.stack import ROOT
from ledger.models import Transaction
from tests.ledger.audit import offences
from tests.people import URL, Tenant, body

THREADS = 6
ACKNOWLEDGED_BEFORE_THE_KILL = 150
# Python 3.12 warns of every fork beside threads; what runs between fork and exec here takes no lock.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@contextmanager
def serving(port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the web server as it is run for real, and kill its whole group at the end."""
    command = f"-m config.web --host {HOST} --port {port} --workers 2 --blocking-threads 8 --backlog 1024"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *command.split()],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        assert wait_until(lambda: is_ready(port), timeout_s=30, every_s=0.1), log.read_text()
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Customer(threading.Thread):
    """Sends transfers one after the other until the server is gone, and keeps what was answered to each key."""

    def __init__(self, port: int, bank: Tenant, number: int) -> None:
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection(HOST, port, timeout=20)
        self.bank, self.number = bank, number
        self.sent: dict[str, str] = {}
        self.answers: dict[str, tuple[int, Any]] = {}

    def run(self) -> None:
        try:
            for count in range(1_000_000):
                key = f"{self.number}-{count}"
                self.sent[key] = f"{count % 7 + 1}.00"
                self.answers[key] = post(self.connection, self.bank, key, self.sent[key])[:2]
        except (OSError, http.client.HTTPException):
            return  # the server was killed
        finally:
            self.connection.close()


def post(connection: http.client.HTTPConnection, bank: Tenant, key: str, amount: str) -> tuple[int, Any, str | None]:
    """Send one transfer; return status, transaction id and whether it was a replay."""
    headers = {"Authorization": f"Bearer {bank.key}", "Idempotency-Key": key, "Prefer": "wait=10"}
    connection.request("POST", URL, json.dumps(body(amount)), headers | {"Content-Type": "application/json"})
    answer = connection.getresponse()
    document = json.loads(answer.read())
    return answer.status, document.get("id") or document.get("transaction_id"), answer.headers["Idempotent-Replayed"]


def test_what_was_acknowledged_survives_the_kill_and_the_rest_happens_once(bank: Tenant, tmp_path: Path) -> None:
    alice, bob = bank.person("alice", holding="1500.00"), bank.person("bob")
    port = free_port(54390)
    customers = [Customer(port, bank, number) for number in range(THREADS)]

    with serving(port, tmp_path / "web.log") as web:
        for customer in customers:
            customer.start()
        enough = wait_until(
            lambda: sum(len(customer.answers) for customer in customers) >= ACKNOWLEDGED_BEFORE_THE_KILL, timeout_s=30
        )
        kill(web)
        for customer in customers:
            customer.join(timeout=25)
    assert enough
    assert not any(customer.is_alive() for customer in customers)

    answers = {key: answer for customer in customers for key, answer in customer.answers.items()}
    sent = {key: amount for customer in customers for key, amount in customer.sent.items()}
    assert {status for status, _ in answers.values()} <= {201, 409}
    assert len(sent) > len(answers)  # some were in flight

    with serving(port, tmp_path / "web.log"):
        connection = http.client.HTTPConnection(HOST, port, timeout=20)
        for key, amount in sent.items():
            status, identifier, replayed = post(connection, bank, key, amount)
            if key in answers:
                assert (status, identifier, replayed) == (*answers[key], "true")
            assert status in {201, 409}
        connection.close()

    stored = Transaction.objects.filter(client=bank.client, idempotency_key__in=sent)
    assert stored.count() == len(sent)
    moved = sum(row.amount_minor for row in stored if row.status == "completed")
    assert (bank.posted(alice), bank.posted(bob)) == (150_000 - moved, moved)
    assert offences(bank.client.pk) == []
