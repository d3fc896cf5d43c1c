"""A private Valkey, or Redis: loopback only, with a password, and it never evicts."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from config.localstack.binaries import Binary
from config.localstack.errors import ServerDied, StackError
from config.localstack.files import open_private
from config.localstack.ports import HOST
from config.localstack.processes import Child, describe, spawn, wait_until

_CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
appendonly {appendonly}
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


class Valkey:
    """One server in `directory`, with its data beneath."""

    name = "valkey"

    def __init__(self, directory: Path, binary: Binary, *, durable: bool, password: str) -> None:
        self._binary, self._durable, self._password = binary, durable, password
        self._data = directory / binary.data_name
        self._log = directory / "valkey.log"
        self._pid_file = directory / "valkey.pid"

    def start(self, port: int) -> Child:
        """Return the server when it answers.

        Raises:
            ServerDied: it ended while starting; the message ends with its log.
        """
        self._data.mkdir(mode=0o700, exist_ok=True)
        self._configure(port)
        with open_private(self._log) as log:
            child = spawn(
                [self._binary.path, "valkey.conf"],
                pid_file=self._pid_file,
                cwd=self._data,
                output=log,
                stop_signal=signal.SIGTERM,
            )
        if not wait_until(lambda: self._answers(port) or child.exit_code() is not None, timeout_s=60):
            child.end(timeout_s=0)
            raise StackError(f"Valkey does not come up; see {self._log}")
        if (code := child.exit_code()) is not None:
            raise ServerDied(f"Valkey ended ({describe(code)}):\n{self._log.read_text(errors='replace')[-2000:]}")
        return child

    def _configure(self, port: int) -> None:
        """Write the configuration to a file: arguments would show the password to every account of the machine."""
        with open_private(self._data / "valkey.conf") as out:
            appendonly = "yes" if self._durable else "no"
            text = _CONFIGURATION.format(host=HOST, port=port, password=self._password, appendonly=appendonly)
            out.write(text.encode())

    def _answers(self, port: int) -> bool:
        try:
            with socket.create_connection((HOST, port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                return _read_lines(connection, 2) == [b"+OK", b"+PONG"]
        except OSError:
            return False


def _read_lines(connection: socket.socket, count: int) -> list[bytes]:
    with connection.makefile("rb") as stream:
        return [stream.readline().strip() for _ in range(count)]
