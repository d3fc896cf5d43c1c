"""How far the followers of the events are behind."""

from __future__ import annotations

from typing import NamedTuple

from config.runtime import metrics
from config.runtime.database import raw_cursor
from config.runtime.sql import sql_file

LAG = sql_file("ledger/events", "lag")
# How old the first event is that waits for its position: where nobody numbers, nobody is behind.
UNNUMBERED = """
SELECT extract(epoch FROM clock_timestamp() - o.occurred_at)::float8
FROM events_outboxevent o
WHERE o.id > (SELECT low_id FROM events_numbering)
    AND NOT EXISTS (
        SELECT FROM events_position p WHERE p.outbox_id = o.id AND p.outbox_id > (SELECT low_id FROM events_numbering)
    )
ORDER BY o.id
LIMIT 1
"""
# How old the first event is that a follower has not taken; NULL where it has begun in no lane.
OLDEST = """
SELECT CASE WHEN c.position IS NOT NULL
    THEN coalesce(extract(epoch FROM clock_timestamp() - p.occurred_at), 0)::float8
END
FROM (SELECT min(position) AS position FROM events_cursor WHERE follower = %(follower)s) c
LEFT JOIN events_position p ON p.position = c.position + 1
"""


class Lag(NamedTuple):
    """How many events a follower has not taken, the age of the oldest of them in seconds, and how many are parked."""

    follower: str
    events: int
    oldest_age_s: float
    parked: int


def lags() -> list[Lag]:
    """Return how far each follower is behind, by the lane that is furthest behind."""
    with raw_cursor() as cursor:
        return [Lag(*row) for row in cursor.execute(LAG)]


def unnumbered_age_s() -> float:
    """Return the age of the oldest event without a position in seconds, 0 when all have one."""
    with raw_cursor() as cursor:
        row = cursor.execute(UNNUMBERED).fetchone()
    return 0.0 if row is None else float(row[0])


def age_s(follower: str) -> float | None:
    """Return the age of the oldest event that a follower has not taken, numbered or not; None before its beginning."""
    with raw_cursor() as cursor:
        ((age,),) = cursor.execute(OLDEST, {"follower": follower}).fetchall()
    return None if age is None else max(age, unnumbered_age_s())


def measure_lag() -> None:
    """Set the gauges of the numbering and of all followers."""
    metrics.EVENTS_UNNUMBERED_AGE.set(unnumbered_age_s())
    for lag in lags():
        metrics.EVENTS_LAG.labels(lag.follower).set(lag.events)
        metrics.EVENTS_OLDEST_AGE.labels(lag.follower).set(lag.oldest_age_s)
        metrics.EVENTS_PARKED.labels(lag.follower).set(lag.parked)
