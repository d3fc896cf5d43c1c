"""A database of a test's own, for what must not touch the shared one; and commands as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper
from psycopg import sql

from tests.apart import DATABASE, urls_of
from tests.conftest import owner_connection

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def scratch_database(template: str = "template1") -> Iterator[str]:
    """Make a database, a copy of `template`, and drop it at the end; yield its name."""
    name = f"{DATABASE}_{uuid4().hex[:12]}"
    with owner_connection() as owner:
        owner.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield name
        finally:
            # PostgreSQL waits for connections that are about to end; one that was left open is the test's fault.
            owner.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


@contextmanager
def pointed_at(database: str) -> Iterator[None]:
    """Let Django's default connection of this thread lead to another database."""
    connection = connections["default"]
    before = connection.settings_dict["NAME"]
    _lead_to(database)
    try:
        yield
    finally:
        _lead_to(before)


def _lead_to(database: str) -> None:
    connection = connections["default"]
    assert isinstance(connection, DatabaseWrapper)
    connection.close()
    connection.close_pool()
    connection.settings_dict["NAME"] = database


def environment(database: str = DATABASE) -> dict[str, str]:
    """Return the environment of a process that uses `database`."""
    return os.environ | urls_of(database)


def start(*arguments: str | Path, database: str = DATABASE, **variables: str) -> subprocess.Popen[str]:
    """Start a manage.py command as a process of its own, with these environment variables besides."""
    return subprocess.Popen(
        [sys.executable, "manage.py", *map(str, arguments)],
        cwd=ROOT,
        env=environment(database) | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def manage(*arguments: str | Path, database: str = DATABASE, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a manage.py command as a process of its own, with these environment variables besides."""
    process = start(*arguments, database=database, **variables)
    out, err = process.communicate(timeout=90)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
