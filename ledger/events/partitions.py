"""Keep the monthly partitions of the outbox and of its positions: made ahead of time, dropped when they are old."""

from __future__ import annotations

from django.conf import settings
from django.db import connection

MONTHS_AHEAD = 12


def ensure_partitions() -> int:
    """Make what is missing of this month's and the next twelve months' partitions; return how many were made."""
    return _called("SELECT events_ensure_partitions(%s)", MONTHS_AHEAD)


def drop_partitions() -> int:
    """Drop the months that ended more than EVENTS_KEEP_DAYS ago; return how many were dropped."""
    return _called("SELECT events_drop_partitions(%s)", settings.EVENTS_KEEP_DAYS)


def _called(statement: str, argument: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, [argument])
        return int(cursor.fetchone()[0])
