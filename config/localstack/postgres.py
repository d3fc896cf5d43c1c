"""A private PostgreSQL: loopback only, passwords for everybody, no way in for its superuser."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from config.localstack.binaries import Binary
from config.localstack.errors import ServerDied, StackError
from config.localstack.files import open_private
from config.localstack.identity import Identity
from config.localstack.ports import HOST
from config.localstack.processes import Child, describe, end_orphan, spawn, wait_until

ROLES = ("owner", "app", "readonly")
DATABASE = "countinghouse"

_ENVIRONMENT = {**os.environ, "LC_ALL": "C"}
_STATISTICS = "pg_stat_statements"
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "max_prepared_transactions": "100",
    "shared_buffers": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres:
    """One cluster in `directory`, made at its first start."""

    name = "postgres"

    def __init__(
        self, directory: Path, binary: Binary, identity: Identity, *, durable: bool, passwords: Mapping[str, str]
    ) -> None:
        self._directory, self._binary, self._identity = directory, binary, identity
        self._data = directory / binary.data_name
        self._log = directory / "postgres.log"
        self._pid_file = directory / "postgres.pid"
        self._durable, self._passwords = durable, passwords
        self._statistics = _has_library(binary.path, _STATISTICS)

    def start(self, port: int) -> Child:
        """Return the server when it accepts connections.

        Raises:
            ServerDied: it ended while starting; the message ends with its log.
            StackError: the cluster cannot be made.
        """
        end_orphan(self._pid_file, signal.SIGINT)
        if not self._data.exists():
            self._create()
        # Nobody runs here any more, whatever the file says: its pid may be a zombie's, or another program's by now.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        settings = {**_SETTINGS, "port": str(port), "fsync": "on" if self._durable else "off"}
        if self._statistics:
            settings["shared_preload_libraries"] = _STATISTICS
        with open_private(self._log) as log:
            child = spawn(
                [self._binary.path, "-D", self._data, *(f"--{name}={value}" for name, value in settings.items())],
                pid_file=self._pid_file,
                cwd=self._data,
                output=log,
                env=_ENVIRONMENT,
                stop_signal=signal.SIGINT,
                identity=self._identity,
            )
        # Replaying the log of a killed server may take a while.
        if not wait_until(lambda: self._is_ready(child) or child.exit_code() is not None, timeout_s=120):
            child.end(timeout_s=0)
            raise StackError(f"PostgreSQL does not come up; see {self._log}")
        if (code := child.exit_code()) is not None:
            raise ServerDied(f"PostgreSQL ended ({describe(code)}):\n{self._log.read_text(errors='replace')[-2000:]}")
        return child

    def _is_ready(self, child: Child) -> bool:
        """Read what `pg_ctl --wait` reads: the pid on the first line, the state on the eighth."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(child.process.pid) and lines[7].strip() == "ready"  # noqa: PLR2004

    def _create(self) -> None:
        """Make the cluster aside and move it into place when it is whole."""
        draft = self._data.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self._identity.own(draft)
        locale = ["-E", "UTF8", "--locale=C"]
        logins = ["-U", "postgres", "--auth-local=reject", "--auth-host=scram-sha-256"]
        self._run("initdb", "-D", draft, *locale, *logins, *([] if self._durable else ["--no-sync"]))
        # Single-user mode opens no port; and as the superuser never gets a password, nobody can log in as it.
        roles = [f"CREATE ROLE {role} LOGIN PASSWORD '{self._passwords[role]}'" for role in ROLES]
        self._single(draft, "postgres", *roles, "ALTER ROLE owner CREATEDB", f"CREATE DATABASE {DATABASE} OWNER owner")
        if self._statistics:
            self._single(draft, DATABASE, f"CREATE EXTENSION {_STATISTICS}")
        draft.rename(self._data)

    def _single(self, data: Path, database: str, *statements: str) -> None:
        options = ["-c", "exit_on_error=true", "-c", "log_statement=none", "-c", "log_min_error_statement=panic"]
        self._run("postgres", "--single", "-D", data, *options, database, given="\n".join((*statements, "")))

    def _run(self, program: str, *arguments: str | Path, given: str = "") -> None:
        done = subprocess.run(
            [*self._identity.before(), self._binary.path.with_name(program), *arguments],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=self._directory,
            env=_ENVIRONMENT,
        )
        if done.returncode:
            raise StackError(f"PostgreSQL could not be set up: {program}:\n{done.stdout.strip()[-2000:]}")


def _has_library(postgres: Path, name: str) -> bool:
    lib = postgres.parent.parent / "lib"
    return any(file for folder in (lib, lib / "postgresql") for file in folder.glob(f"{name}.*"))
