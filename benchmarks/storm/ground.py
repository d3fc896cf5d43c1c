"""What the storm passes over: two servers, web, worker and relay, with a client's wallets in the books."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import redis

from benchmarks.harness import ROOT
from benchmarks.procs import finished, running, wait_until
from benchmarks.web import answers
from config.localstack.binaries import find_postgres, find_valkey
from config.localstack.identity import CALLER, unprivileged
from config.localstack.ports import HOST, free_port
from config.localstack.postgres import Postgres
from config.localstack.processes import Child
from config.localstack.stack import Profile, Stack, environment
from config.localstack.state import load
from config.localstack.up import PROCESSES
from config.localstack.valkey import Valkey

# Two storms at once, such as a benchmark and a test, are apart.
DIRECTORY = ROOT / ".local" / f"storm-{os.getpid()}"
PROFILE = Profile(postgres_port=54340, valkey_port=56340, durable=True)
WALLETS = 40
FUNDS = "200.00"
READY_WITHIN_S = 60
WAITING = """
SELECT (SELECT count(*) FROM ledger_queuedposting) + (SELECT count(*) FROM ledger_batch WHERE status = 'processing')
"""


class Books(NamedTuple):
    """A client of this storm's own: its name, its key and its accounts."""

    client: str
    key: str
    accounts: list[str]


class Ground:
    """All of the service, each part of which can be killed and comes back; `stack` ends what is left."""

    def __init__(self, stack: ExitStack) -> None:
        stack.callback(self._leave)
        self.is_clean = False
        self._stack = Stack(DIRECTORY, PROFILE)
        self._stack.claim("dev.py bench storm")
        stack.enter_context(self._stack.running())
        known = load(DIRECTORY)
        identity = unprivileged()
        postgres = Postgres(DIRECTORY, find_postgres(identity), identity, durable=True, passwords=known.passwords)
        valkey = Valkey(DIRECTORY, find_valkey(), durable=True, password=known.passwords["valkey"])
        self._servers: dict[str, Postgres | Valkey] = {"postgres": postgres, "valkey": valkey}
        self._ports = known.ports
        self.environment = environment(DIRECTORY, "command", os.environ)
        self._name = f"storm-{time.time_ns()}"
        finished(["manage.py", "migrate", "--verbosity", "0"], env=self.environment)
        self.port = free_port(0)
        self.processes = {role: Process(role, self.port) for role in PROCESSES}
        for process in self.processes.values():
            stack.callback(process.kill)
            process.start()
        wait_until(lambda: answers(self.port, "/readyz"), timeout_s=READY_WITHIN_S, what="the service is ready")

    def server(self, name: str) -> Child:
        return next(child for child in self._stack.servers if child.name == name)

    def kill_server(self, name: str) -> None:
        """kill -9 of the server's main process."""
        child = self.server(name)
        child.process.kill()
        child.process.wait()

    def restart_server(self, name: str) -> None:
        """Start what was killed, on the port it had."""
        self._stack.servers.remove(self.server(name))
        self._stack.servers.append(self._servers[name].start(self._ports[name]))

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.environment["REDIS_URL"])

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.environment["MIGRATE_DATABASE_URL"]) as owner:
            return owner.execute(statement, parameters).fetchall()

    def waiting(self) -> int:
        """Return how much was accepted and has no outcome."""
        return int(self.query(WAITING)[0][0])

    def open_books(self) -> Books:
        """Make a client with a few wallets, so little in each that some transfers fail."""
        finished(["manage.py", "create_client", self._name, "--tier", "internal"], env=self.environment)
        key = finished(["manage.py", "create_key", self._name, "--scopes", "all"], env=self.environment).strip()
        wallets = [f"users:{number:02}:USD" for number in range(WALLETS)]
        self._post(key, "/v2/accounts", {"path": "cash:USD", "currency": "USD", "kind": "asset"})
        for path in wallets:
            user = path.split(":")[1]
            self._post(key, "/v2/accounts", {"path": path, "currency": "USD", "kind": "liability", "user_id": user})
            self._post(key, "/v2/transactions", transfer("cash_in", "cash:USD", path, FUNDS))
        return Books(self._name, key, wallets)

    def _leave(self) -> None:
        """Remove everything, but not where somebody has to look."""
        if self.is_clean:
            shutil.rmtree(DIRECTORY, ignore_errors=True)
        else:
            print(f"Servers' data and logs are left in {DIRECTORY}.", file=sys.stderr)

    def _post(self, key: str, path: str, body: dict[str, Any]) -> None:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": f"open-{uuid4()}"}
        headers |= {"Content-Type": "application/json", "Prefer": "wait=10"}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        document = answer.read()
        connection.close()
        if answer.status != 201:
            raise RuntimeError(f"POST {path}: {answer.status} {document.decode()}")


class Process:
    """One process of the service, which can be killed and started again."""

    def __init__(self, role: str, port: int) -> None:
        self._role, self._port = role, port
        self._running = ExitStack()
        self.pid = 0

    @property
    def log(self) -> Path:
        return DIRECTORY / f"{self._role}.log"

    def start(self) -> None:
        arguments = [word.format(host=HOST, port=self._port) for word in PROCESSES[self._role].split()]
        env = environment(DIRECTORY, self._role, os.environ) | {"PYTHONUNBUFFERED": "1", "LOG_LEVEL": "WARNING"}
        # Killed itself, the storm leaves nobody behind.
        command = [*CALLER.before(stop_signal=signal.SIGTERM), sys.executable, *arguments]
        started = running(command, env=env, cwd=ROOT, log=self.log)
        self.pid = self._running.enter_context(started).pid

    def kill(self) -> None:
        """kill -9 of the process and of its workers."""
        if self.pid:
            os.killpg(self.pid, signal.SIGKILL)
            self.pid = 0
            self._running.close()


def transfer(kind: str, debit: str, credit: str, amount: str) -> dict[str, Any]:
    return {"type": kind, "debit_account": debit, "credit_account": credit, "amount": amount, "currency": "USD"}
