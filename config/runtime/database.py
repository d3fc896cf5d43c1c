"""The database as one unit of work sees it: statements counted and timed, and psycopg itself where it is faster."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.base import DatabaseWrapper
from psycopg.types.datetime import TimestamptzLoader

from config.runtime import metrics, units

POOL_LOOK_S = 1.0

_OPS = frozenset({"select", "insert", "update", "delete", "with", "copy", "call", "set", "savepoint", "release"})
# By the beginning of the SQLSTATE: connection lost, session ended because we were frozen for too long, resources gone,
# shut down by an operator, I/O error.
_DOWN = ("08", "25P03", "53", "57P", "58")
_KEEPALIVE = {"keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3, "tcp_user_timeout": 5_000}
_SERVER_KEEPALIVE = "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3"
_FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*|/\*.*?\*/)*([a-z]+)", re.IGNORECASE | re.DOTALL)
_pool_looked_at = 0.0


def watch(using: str = "default") -> None:
    """Count this thread's statements from here on; opens no connection. Called at the start of a unit of work."""
    connection = connections[using]
    if _measure not in connection.execute_wrappers:
        connection.execute_wrappers.append(_measure)
    global _pool_looked_at  # noqa: PLW0603  (one look a second for the whole process)
    if time.monotonic() - _pool_looked_at >= POOL_LOOK_S:
        _pool_looked_at = time.monotonic()
        show_pool(using)


def show_pool(using: str = "default") -> None:
    """Set the gauges of this process's connection pool."""
    pool = getattr(connections[using], "pool", None)
    if pool is not None:
        stats = pool.get_stats()
        metrics.DB_POOL_SIZE.set(stats.get("pool_size", 0))
        metrics.DB_POOL_AVAILABLE.set(stats.get("pool_available", 0))
        metrics.DB_POOL_WAITING.set(stats.get("requests_waiting", 0))


@contextmanager
def raw_cursor(using: str = "default") -> Iterator[psycopg.Cursor[Any]]:
    """Open a cursor of psycopg on Django's connection, inside its `atomic` block if there is one.

    Parameters are bound by the server, so that repeated statements are prepared (Django's own cursor writes them into
    the text, and is never prepared). jsonb arrives as text, as everywhere in Django. Errors arrive as `django.db`'s.
    """
    connection = _open(using)
    with connection.wrap_database_errors, _CountedCursor(connection.connection) as cursor:
        yield cursor


@contextmanager
def pipeline(using: str = "default") -> Iterator[psycopg.Pipeline]:
    """Send the statements of Django's connection without waiting for each answer. Call inside `atomic`.

    An error arrives at the next fetch or at the end of the block, and a statement's time is that of its sending.
    """
    connection = _open(using)
    with connection.wrap_database_errors, connection.connection.pipeline() as answers:
        yield answers


def release_connections() -> None:
    """Give this thread's connections back to their pools, closed if they are unusable, at the end of a unit."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            # An interrupt tore the block open. Django would refuse to work in this thread ever after.
            connection.in_atomic_block = False
            connection.close()
            del connections[connection.alias]
        else:
            connection.close_if_unusable_or_obsolete()


def close_pools() -> None:
    """Close this process's connections and pools, at its end; what is in use is closed when it comes back."""
    connections.close_all()
    for alias in connections:
        connection = connections[alias]
        if isinstance(connection, DatabaseWrapper):
            connection.close_pool()


def session_connection(*, idle_s_max: int = 0) -> psycopg.Connection[Any]:
    """Open a connection of one's own, past any pooler, for locks that last as long as it does; in autocommit.

    Who holds such locks and whose network is gone, or who is frozen for `idle_s_max` (0: for ever), must lose them.
    """
    alias = "direct" if "direct" in settings.DATABASES else "default"
    connection = psycopg.connect(**connections[alias].get_connection_params() | _KEEPALIVE, autocommit=True)
    connection.execute(_SERVER_KEEPALIVE)
    connection.execute("SELECT set_config('idle_session_timeout', %s, false)", [f"{idle_s_max}s"])
    return connection


def is_down(error: BaseException) -> bool:
    """Tell whether an error of Django's or psycopg's says that the database is not there, not no to a statement."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    if isinstance(cause, psycopg.Error) and cause.sqlstate is not None:
        return cause.sqlstate.startswith(_DOWN)
    return isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError))


def _open(using: str) -> BaseDatabaseWrapper:
    connection = connections[using]
    connection.ensure_connection()
    connection.validate_no_broken_transaction()
    return connection


class _CountedCursor(psycopg.Cursor[Any]):
    """Reads moments as psycopg does, in C; Django's own reader takes ten times as long. Sessions are in UTC."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection)
        self.adapters.register_loader("timestamptz", TimestamptzLoader)

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> _CountedCursor:
        begun = time.perf_counter()
        try:
            return super().execute(query, *args, **kwargs)
        finally:
            _note(query, time.perf_counter() - begun)

    def executemany(self, query: Any, *args: Any, **kwargs: Any) -> None:
        begun = time.perf_counter()
        try:
            super().executemany(query, *args, **kwargs)
        finally:
            _note(query, time.perf_counter() - begun)


def _measure(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
    begun = time.perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        _note(sql, time.perf_counter() - begun)


def _note(query: Any, seconds: float) -> None:
    metrics.DB_QUERY.labels(_op(query)).observe(seconds)
    unit = units.current()
    if unit is not None:
        unit.db_queries += 1
        unit.db_s += seconds


def _op(query: Any) -> str:
    """Return a statement's first keyword, one of a small set."""
    found = _FIRST_WORD.match(query) if isinstance(query, str) else None
    word = found[1].lower() if found else ""
    return word if word in _OPS else "other"
