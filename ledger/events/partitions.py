"""Keep the monthly partitions of the outbox and of its positions ahead of time."""

from __future__ import annotations

from django.db import connection

MONTHS_AHEAD = 12


def ensure_partitions() -> int:
    """Make what is missing of this month's and the next twelve months' partitions; return how many were made."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT events_ensure_partitions(%s)", [MONTHS_AHEAD])
        return int(cursor.fetchone()[0])
