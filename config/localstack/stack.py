"""The two servers of one purpose, in one directory: `up`, `test` and `bench` each have their own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.localstack import state
from config.localstack.binaries import find_postgres, find_valkey
from config.localstack.errors import ServerDied, StackError
from config.localstack.identity import unprivileged
from config.localstack.locks import FileLock
from config.localstack.ports import HOST, free_port, is_free
from config.localstack.postgres import DATABASE, Postgres
from config.localstack.processes import Child
from config.localstack.signals import ignore_stop_signals
from config.localstack.state import State
from config.localstack.valkey import Valkey

ROOT = Path(__file__).resolve().parents[2]

_READY = ", ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What differs between the stacks; the ports are the preferred ones.

    What is not durable may lose what it holds: PostgreSQL's when the machine dies, Valkey's at every stop.
    """

    postgres_port: int
    valkey_port: int
    durable: bool


PROFILES = {
    "up": Profile(postgres_port=54310, valkey_port=56310, durable=True),
    "test": Profile(postgres_port=54320, valkey_port=56320, durable=False),
    "bench": Profile(postgres_port=54330, valkey_port=56330, durable=True),
}


class Stack:
    """Whoever claims it starts and stops the servers; others may use them while it is ready."""

    def __init__(self, directory: Path, profile: Profile) -> None:
        # Others may pass through, for the account PostgreSQL may run as; what lies here is closed to them.
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.directory, self._profile = directory, profile
        self.servers: list[Child] = []
        self._lock = FileLock(directory / "lock")
        self._claim = ""

    def try_claim(self, purpose: str) -> bool:
        """Take the stack, unless another process has it. The kernel gives it back when this process ends."""
        if not self._lock.acquire():
            return False
        self._claim = f"{purpose}, process {os.getpid()}"
        self._lock.write(self._claim)
        return True

    def claim(self, purpose: str) -> None:
        """Take the stack.

        Raises:
            StackError: another process has it.
        """
        if not self.try_claim(purpose):
            raise StackError(f"This checkout's stack is in use already ({self.claimed_by()}).")

    def claimed_by(self) -> str:
        return self._lock.read()

    def is_ready(self) -> bool:
        """Say whether the process that has the stack lets others use its servers."""
        return self.claimed_by().endswith(_READY)

    def start(self) -> None:
        """Start what the environment does not name: PostgreSQL without DATABASE_URL, Valkey without REDIS_URL.

        Raises:
            StackError: a server cannot be found or does not start.
        """
        known = state.load(self.directory)
        state.save(self.directory, known)  # the passwords, before a cluster is made with them
        if os.environ.get("DATABASE_URL"):
            known.ports.pop(Postgres.name, None)
        else:
            identity = unprivileged()
            postgres = Postgres(
                self.directory,
                find_postgres(identity),
                identity,
                durable=self._profile.durable,
                passwords=known.passwords,
            )
            self._start_server(postgres, known, self._profile.postgres_port)
        if os.environ.get("REDIS_URL"):
            known.ports.pop(Valkey.name, None)
        else:
            valkey = Valkey(
                self.directory, find_valkey(), durable=self._profile.durable, password=known.passwords["valkey"]
            )
            self._start_server(valkey, known, self._profile.valkey_port)
        state.save(self.directory, known)
        self._lock.write(self._claim + _READY)

    def _start_server(self, server: Postgres | Valkey, known: State, preferred: int) -> None:
        port = known.ports.get(server.name, preferred)
        for attempts_left in (2, 1, 0):
            port = free_port(port)
            try:
                self.servers.append(server.start(port))
            except ServerDied:
                # Two stacks that start at the same moment may choose the same free port.
                if is_free(port) or not attempts_left:
                    raise
            else:
                break
        known.ports[server.name] = port

    def close_to_others(self) -> None:
        """Say that the servers are about to stop."""
        self._lock.write(self._claim)

    def stop(self) -> None:
        """Stop the servers in at most 9 s: Valkey, then PostgreSQL, each asked first and then killed."""
        for child in reversed(self.servers):
            child.ask_to_stop()
            child.end(timeout_s=7 if child.name == Postgres.name else 2)
        self.servers.clear()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the claimed stack's servers; at the end stop them, whatever is pressed, and give the stack back."""
        try:
            self.start()
            yield
        finally:
            ignore_stop_signals()
            self.close_to_others()
            self.stop()
            self._lock.release()


def environment(directory: Path, role: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process of this stack; what `environ` sets already wins.

    `role` names the process in the metrics, such as `web`.

    Raises:
        StackError: the stack runs without a server that the process needs.
    """
    known = state.load(directory)
    defaults = {
        "SECRET_KEY": known.secret_key,
        "DEBUG": "0",
        "BEHIND_TLS": "0",
        "ALLOWED_HOSTS": f"{HOST},localhost",
        "OUTBOUND_ALLOW_LOOPBACK": "1",
    }
    if role != "test":  # a test reads the numbers of its own process
        defaults["PROMETHEUS_MULTIPROC_DIR"] = str(directory / "metrics" / role)
    if not environ.get("DATABASE_URL"):
        defaults["DATABASE_URL"] = _postgres_url(known, "app")
        defaults["MIGRATE_DATABASE_URL"] = _postgres_url(known, "owner")
        defaults["READONLY_DATABASE_URL"] = _postgres_url(known, "readonly")  # for people: no process reads it
    if not environ.get("REDIS_URL"):
        defaults["REDIS_URL"] = f"redis://:{known.passwords['valkey']}@{HOST}:{_port(known, Valkey.name)}/0"
    # Many processes begin here: what one has compiled the next need not.
    kept = {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **{name: environ.get(name) or value for name, value in defaults.items()}}


def _postgres_url(known: State, role: str) -> str:
    return f"postgresql://{role}:{known.passwords[role]}@{HOST}:{_port(known, Postgres.name)}/{DATABASE}"


def _port(known: State, server: str) -> int:
    if server not in known.ports:
        raise StackError(f"The running stack has no {server} of its own; set DATABASE_URL and REDIS_URL here as there.")
    return known.ports[server]
