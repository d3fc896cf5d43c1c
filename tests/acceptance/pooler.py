"""PgBouncer in transaction mode before the test database."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

from config.localstack.ports import free_port
from config.localstack.processes import wait_until
from tests.needs import give_up

CONFIGURATION = """
[databases]
* = host={host} port={server_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {logins}
pool_mode = transaction
default_pool_size = 10
max_client_conn = 200
"""


@contextmanager
def pgbouncer() -> Iterator[dict[str, str]]:
    """Start a pooler; yield the environment of a process that goes through it, and past it for session locks."""
    binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if binary is None:
        give_up("PgBouncer is not installed: apt install pgbouncer")
    with TemporaryDirectory() as directory:
        # As root it takes another's name, who must read what is there.
        Path(directory).chmod(0o755)
        with _running(binary, Path(directory)) as environment:
            yield environment


@contextmanager
def _running(binary: str, directory: Path) -> Iterator[dict[str, str]]:
    server, port = urlsplit(os.environ["DATABASE_URL"]), free_port(0)
    logins, configuration = directory / "logins", directory / "pgbouncer.ini"
    logins.write_text(f'"{server.username}" "{unquote(server.password or "")}"\n')
    configuration.write_text(
        CONFIGURATION.format(
            host=server.hostname,
            server_port=server.port,
            port=port,
            logins=logins,
        )
    )
    as_whom = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([binary, "-q", *as_whom, str(configuration)], start_new_session=True)
    url = f"postgresql://{server.username}@127.0.0.1:{port}{server.path}"
    try:
        assert wait_until(lambda: _answers(port), timeout_s=10)
        yield {
            "DATABASE_URL": url,
            "DIRECT_DATABASE_URL": os.environ["DATABASE_URL"],
            "DATABASE_PREPARE": "0",
        }
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
