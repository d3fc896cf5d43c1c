"""Django's backend for PostgreSQL, with a pool that is whole again with the first request after a server's restart."""

from __future__ import annotations

import select
import time
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool


class DatabaseWrapper(base.DatabaseWrapper):
    """Checks connections as they are taken, in the place of the pool's own check (`CONN_HEALTH_CHECKS`).

    That one pauses, longer each time, for each ended connection that it finds; a restart ends them all at once.
    """

    _drained_at = 0.0

    def get_new_connection(self, conn_params: dict[str, Any]) -> psycopg.Connection[Any]:
        """Return a connection that answers; once one does not, all that lie in the pool are made anew."""
        asked_at = time.monotonic()
        connection: psycopg.Connection[Any] = super().get_new_connection(conn_params)
        pool = self.pool
        if pool is None or _answers(connection):
            return connection
        # Of many threads that find an ended connection the first has made anew what the others would.
        if DatabaseWrapper._drained_at < asked_at:
            DatabaseWrapper._drained_at = time.monotonic()
            pool.drain()
        pool.putconn(connection)
        fresh: psycopg.Connection[Any] = super().get_new_connection(conn_params)
        return fresh


def _answers(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether the server is there, without asking it as long as it has said nothing.

    One that ends a connection says so, and its kernel does where it cannot; it is read here, not after a statement.
    """
    heard = select.poll()
    heard.register(connection.fileno(), select.POLLIN)
    if not heard.poll(0):
        return True
    try:
        ConnectionPool.check_connection(connection)
    except psycopg.Error:
        return False
    return True
