"""Stopping and restarting under load: whoever was heard is answered, and what was answered is in the books."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from config.localstack.processes import wait_until
from config.web import READ_WITHIN_S
from ledger.domain.shapes import AccountShape
from ledger.models import Transaction
from tests.acceptance.server import Server, Worker, running
from tests.apart import DATABASE
from tests.conftest import owner_connection
from tests.ledger.audit import offences
from tests.ledger.queueing import emptied, statuses
from tests.people import URL, Tenant, body

CLIENTS = 6
WARM = 60
# Python 3.12 warns of every fork beside threads; what runs between fork and exec here takes no lock.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


class Customer(threading.Thread):
    """Sends transfers one after the other on a connection that it keeps, until it is stopped or nobody listens."""

    def __init__(self, server: Server, bank: Tenant, number: int, prefer: str) -> None:
        super().__init__(daemon=True)
        self.connection = connect(server)
        self.bank, self.number, self.prefer = bank, number, prefer
        self.answers: dict[str, tuple[int, Any]] = {}
        self.unanswered: dict[str, Exception] = {}
        self.reconnected = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        for count in range(1_000_000):
            if self.stopped.is_set() or not self._ask(f"{self.number}-{count}"):
                break
        self.connection.close()

    def _ask(self, key: str) -> bool:
        try:
            if self.connection.sock is None:
                self.connection.connect()
                self.reconnected += 1
        except ConnectionRefusedError:
            return False
        try:
            self.answers[key] = post(self.connection, self.bank, key, self.prefer)
        except (OSError, http.client.HTTPException) as error:
            self.unanswered[key] = error
            self.connection.close()
        return True


class PasserBy(threading.Thread):
    """Connects anew for each request, and takes a moment before it says what it wants."""

    PAUSE_S = 0.05

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.answered = 0
        self.unanswered: list[Exception] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            connection = connect(self.server)
            begun = time.monotonic()
            try:
                connection.connect()
                time.sleep(self.PAUSE_S)
                connection.request("GET", "/livez")
                connection.getresponse().read()
                self.answered += 1
            except (OSError, http.client.HTTPException) as error:
                # Whom this machine lets wait for longer, the server need not wait for.
                if time.monotonic() - begun < READ_WITHIN_S:
                    self.unanswered.append(error)
            finally:
                connection.close()


def connect(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)


def post(connection: http.client.HTTPConnection, bank: Tenant, key: str, prefer: str = "wait=5") -> tuple[int, Any]:
    """Pay alice's 1.00 to bob; return the status and the document."""
    headers = {"Authorization": f"Bearer {bank.key}", "Idempotency-Key": key, "Prefer": prefer}
    connection.request("POST", URL, json.dumps(body()), headers | {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def readyz(server: Server) -> tuple[int, Any, str | None]:
    """Ask on a connection of its own; return status, document and the header Connection."""
    connection = connect(server)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers["Connection"]
    finally:
        connection.close()


@pytest.fixture
def people(bank: Tenant) -> tuple[AccountShape, AccountShape]:
    return bank.person("alice", holding="100000.00"), bank.person("bob")


@contextmanager
def customers(server: Server, bank: Tenant, prefer: str = "wait=5") -> Iterator[list[Customer]]:
    """Let them work, and go on when they are at it; they are stopped at the end."""
    crowd = [Customer(server, bank, number, prefer) for number in range(CLIENTS)]
    for customer in crowd:
        customer.start()
    try:
        assert wait_until(lambda: sum(len(customer.answers) for customer in crowd) >= WARM, timeout_s=30)
        yield crowd
    finally:
        for customer in crowd:
            customer.stopped.set()
        for customer in crowd:
            customer.join(timeout=25)
    assert not any(customer.is_alive() for customer in crowd)


def check_books(bank: Tenant, people: tuple[AccountShape, AccountShape], crowd: list[Customer]) -> None:
    """What was acknowledged stands, and nobody did anything that was not answered."""
    answers = {key: answer for customer in crowd for key, answer in customer.answers.items()}
    acknowledged = {key: document["id"] for key, (status, document) in answers.items() if status in {201, 202}}
    stored = Transaction.objects.filter(client=bank.client, type="transfer")
    assert {row.idempotency_key: str(row.pk) for row in stored if row.idempotency_key in answers} == acknowledged
    assert {row.idempotency_key for row in stored} <= answers.keys() | {"slow"}
    assert {row.status for row in stored} == {"completed"}
    alice, bob = people
    assert (bank.posted(alice), bank.posted(bob)) == (10_000_000 - 100 * len(stored), 100 * len(stored))
    assert offences(bank.client.pk) == []


def workers_of(server: Server) -> set[int]:
    listed = subprocess.run(["ps", "-Ao", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    assert server.process is not None
    rows = [line.split() for line in listed.splitlines()]
    return {int(pid) for pid, parent, state in rows if int(parent) == server.process.pid and not state.startswith("Z")}


def test_a_rolling_restart_under_load_is_noticed_by_nobody(
    bank: Tenant, people: tuple[AccountShape, AccountShape], tmp_path: Path
) -> None:
    log = tmp_path / "web.log"
    with Server(workers=2, log=log, GRANIAN_RESPAWN_INTERVAL="1") as server, customers(server, bank) as crowd:
        assert server.process is not None
        passers_by = [PasserBy(server) for _ in range(4)]
        for passer_by in passers_by:
            passer_by.start()
        old = workers_of(server)

        server.process.send_signal(signal.SIGHUP)

        assert wait_until(lambda: workers_of(server).isdisjoint(old), timeout_s=60, every_s=0.2), log.read_text()
        done = sum(len(customer.answers) for customer in crowd)
        assert wait_until(lambda: sum(len(customer.answers) for customer in crowd) > done + WARM, timeout_s=30)
        for passer_by in passers_by:
            passer_by.stopped.set()
        for passer_by in passers_by:
            passer_by.join(timeout=25)

    assert len(old) == 2
    assert [error for passer_by in passers_by for error in passer_by.unanswered] == []
    assert all(passer_by.answered > 10 for passer_by in passers_by)
    assert {key: error for customer in crowd for key, error in customer.unanswered.items()} == {}
    assert {status for customer in crowd for status, _ in customer.answers.values()} == {201}
    check_books(bank, people, crowd)


def test_a_stop_under_load_answers_all_that_was_heard(
    bank: Tenant, people: tuple[AccountShape, AccountShape], tmp_path: Path
) -> None:
    log = tmp_path / "web.log"
    with Server(workers=2, log=log) as server, customers(server, bank) as crowd:
        assert server.process is not None

        server.process.send_signal(signal.SIGTERM)

        assert server.process.wait(timeout=20) == 0
        # Nobody was told to stop: all have found that nobody listens any more.
        for customer in crowd:
            customer.join(timeout=10)
        assert not any(customer.is_alive() for customer in crowd)

    answers = [answer for customer in crowd for answer in customer.answers.values()]
    assert [answer for answer in answers if answer[0] != 201 and (answer[0] != 503 or not answer[1].get("code"))] == []
    # Only what came while the listener was being closed may go unanswered, and the books show that it was not heard.
    unheard = {key: error for customer in crowd for key, error in customer.unanswered.items()}
    assert all(isinstance(error, ConnectionError) for error in unheard.values())
    assert len(unheard) <= CLIENTS
    check_books(bank, people, crowd)
    assert "Traceback" not in log.read_text()


@contextmanager
def locked(account: AccountShape) -> Iterator[Callable[[], None]]:
    """Hold the account's balance, so that postings wait for it, until the given function is called."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as holder:
        taken = holder.execute(
            """
            SELECT b.account_id
            FROM ledger_balance b
            JOIN ledger_account a ON a.id = b.account_id
            WHERE a.public_id = %s
            FOR NO KEY UPDATE OF b
            """,
            [str(account.id)],
        )
        assert taken.rowcount == 1
        yield holder.rollback


def is_waited_for() -> bool:
    with psycopg.connect(os.environ["DATABASE_URL"]) as app:
        row = app.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()
    return row is not None and row[0] > 0


class Slow(threading.Thread):
    """One transfer, which waits for the lock."""

    def __init__(self, server: Server, bank: Tenant) -> None:
        super().__init__(daemon=True)
        self.connection, self.bank = connect(server), bank
        self.answer: tuple[int, Any] | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.answer = post(self.connection, self.bank, "slow")
        except (OSError, http.client.HTTPException) as error:
            self.error = error


def listens(server: Server) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) == 0


def test_from_the_signal_on_readyz_is_red_and_what_is_in_flight_is_still_answered(
    bank: Tenant, people: tuple[AccountShape, AccountShape], tmp_path: Path
) -> None:
    log = tmp_path / "web.log"
    with Server(workers=2, log=log, DRAIN_S="3") as server, locked(people[0]) as release:
        assert server.process is not None
        slow = Slow(server, bank)
        slow.start()
        assert wait_until(is_waited_for, timeout_s=10)
        assert readyz(server)[0] == 200

        # As a terminal or a service manager does it: to the whole group, and once more for good measure.
        os.killpg(server.process.pid, signal.SIGTERM)
        told_at = time.monotonic()
        assert wait_until(lambda: readyz(server)[0] == 503, timeout_s=2)
        status, document, connection = readyz(server)
        os.killpg(server.process.pid, signal.SIGTERM)
        # Neither worker, and none for the other: many connections, because the kernel spreads them.
        assert wait_until(lambda: not any(listens(server) for _ in range(16)), timeout_s=6)
        still_in_flight = slow.is_alive()
        assert time.monotonic() - told_at > 2.9
        release()
        slow.join(timeout=10)
        ended = server.process.wait(timeout=10)

    assert (status, document["code"], document["parts"]["process"]) == (503, "not_ready", "draining")
    assert connection == "close"
    assert still_in_flight
    assert (slow.error, slow.answer and slow.answer[0]) == (None, 201)
    assert ended == 0
    assert bank.posted(people[1]) == 100
    assert "Traceback" not in log.read_text()


def test_what_does_not_end_in_time_is_cut_short_and_moves_nothing(
    bank: Tenant, people: tuple[AccountShape, AccountShape], tmp_path: Path
) -> None:
    log = tmp_path / "web.log"
    with Server(log=log, DRAIN_S="0", SHUTDOWN_TIMEOUT_S="1") as server, locked(people[0]) as release:
        assert server.process is not None
        slow = Slow(server, bank)
        slow.start()
        assert wait_until(is_waited_for, timeout_s=10)

        server.process.send_signal(signal.SIGTERM)

        server.process.wait(timeout=4)
        slow.join(timeout=5)
        release()

    assert isinstance(slow.error, ConnectionError)
    assert "web.stop_overdue" in log.read_text()
    assert bank.posted(people[1]) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_soon_and_quietly(django_db_setup, tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "web.log"
    with Server(workers=2, log=log) as server:
        assert server.process is not None
        kept = connect(server)
        kept.request("GET", "/livez")
        kept.getresponse().read()

        begun = time.monotonic()
        server.process.send_signal(number)

        assert server.process.wait(timeout=10) == 0
        assert time.monotonic() - begun < 3
        kept.close()

    assert not re.search("Traceback|Killing|Unexpected", log.read_text())


def test_a_server_that_is_told_to_stop_while_it_starts_ends(django_db_setup, tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    server = Server(workers=2, log=log)
    process = server.launch()
    try:
        assert wait_until(lambda: "Spawning worker-2" in log.read_text(), timeout_s=20)

        process.send_signal(signal.SIGTERM)

        process.wait(timeout=20)
    finally:
        server.kill()
    assert "Traceback" not in log.read_text()


def completed(bank: Tenant) -> int:
    return statuses(bank).get("completed", 0)


def sessions_lost() -> int:
    """Return how many sessions of the test database have ended without a word of their client."""
    with owner_connection(DATABASE) as owner:
        found = owner.execute(
            "SELECT sessions_abandoned FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert found is not None
    return int(found[0])


def test_a_rolling_restart_of_the_worker_under_load_loses_nothing_that_was_accepted(
    bank: Tenant, people: tuple[AccountShape, AccountShape], tmp_path: Path
) -> None:
    emptied()
    server, old, new = Server(log=tmp_path / "web.log"), Worker(tmp_path / "old.log"), Worker(tmp_path / "new.log")
    with running(server, old), customers(server, bank, "respond-async") as crowd:
        assert wait_until(lambda: completed(bank) > WARM, timeout_s=30)
        with new:
            lost = sessions_lost()

            # To the whole group, and once more for good measure.
            old.tell(signal.SIGTERM)
            assert wait_until(lambda: "Stopping worker process" in old.said(), timeout_s=5)
            assert old.stop(within_s=30) == 0

            assert sessions_lost() == lost
            done = completed(bank)
            assert wait_until(lambda: completed(bank) > done + WARM, timeout_s=30)
            for customer in crowd:
                customer.stopped.set()
            for customer in crowd:
                customer.join(timeout=25)
            assert wait_until(lambda: set(statuses(bank)) == {"completed"}, timeout_s=30)

    assert {key: error for customer in crowd for key, error in customer.unanswered.items()} == {}
    assert {status for customer in crowd for status, _ in customer.answers.values()} == {202}
    check_books(bank, people, crowd)
    assert not re.search('"level":"(error|critical)"|Traceback', old.said() + new.said())
