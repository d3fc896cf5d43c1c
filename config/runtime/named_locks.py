"""Locks by name, in the database, for what no row stands for or what takes more than one commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from django.db import OperationalError, connection
from psycopg import errors as pg

from config.runtime.database import raw_cursor, session_connection

_BOUND_WAIT = "SELECT set_config('lock_timeout', %s, %s)"
_LOCK = "SELECT pg_advisory_lock(hashtextextended(%s, 0))"
_LOCK_UNTIL_COMMIT = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


class LockTaken(Exception):
    """Somebody else has had the name for longer than we wait."""


@contextmanager
def name_held(name: str, *, patience_s: float, idle_s_max: int) -> Iterator[None]:
    """Have a name to oneself until the end of the block, whatever is committed meanwhile.

    It is held by a session of its own past any pooler: it ends with the process, and `idle_s_max` after one is frozen.

    Raises:
        LockTaken: another had it for `patience_s`.
    """
    with _taken_when_late():
        session = session_connection(idle_s_max=idle_s_max)
    with closing(session):
        with _taken_when_late():
            session.execute(_BOUND_WAIT, [_milliseconds(patience_s), False])
            session.execute(_LOCK, [name])
        yield


def hold_name_until_commit(name: str, *, patience_s: float) -> None:
    """Have a name to oneself until the end of the database transaction, all of whose waits are bounded likewise.

    Raises:
        LockTaken: another had it for `patience_s`.
    """
    with _taken_when_late(), raw_cursor() as cursor:
        cursor.execute(_BOUND_WAIT, [_milliseconds(patience_s), True])
        cursor.execute(_LOCK_UNTIL_COMMIT, [name])


@contextmanager
def _taken_when_late() -> Iterator[None]:
    try:
        with connection.wrap_database_errors:
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, pg.LockNotAvailable):
            raise LockTaken from error
        raise


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms"
