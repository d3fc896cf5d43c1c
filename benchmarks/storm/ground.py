"""What the storm passes over: two servers, web, worker and relay, with a client's few accounts in the books."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import redis

from benchmarks.harness import ROOT
from benchmarks.procs import finished, running, wait_until
from benchmarks.storm.books import Books, opened
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
READY_WITHIN_S = 60
WAITING = """
SELECT (SELECT count(*) FROM ledger_queuedposting) + (SELECT count(*) FROM ledger_batch WHERE status = 'processing')
    + (SELECT count(*) FROM ledger_openhold)
"""


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
        """Return how much was accepted and has no outcome, and how much is held."""
        return int(self.query(WAITING)[0][0])

    def open_books(self) -> Books:
        """Make a client with few accounts."""
        finished(["manage.py", "create_client", self._name, "--tier", "internal"], env=self.environment)
        key = finished(["manage.py", "create_key", self._name, "--scopes", "all"], env=self.environment).strip()
        return opened(self.port, self._name, key)

    def _leave(self) -> None:
        """Remove everything, but not where somebody has to look."""
        if self.is_clean:
            shutil.rmtree(DIRECTORY, ignore_errors=True)
        else:
            print(f"Servers' data and logs are left in {DIRECTORY}.", file=sys.stderr)


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
