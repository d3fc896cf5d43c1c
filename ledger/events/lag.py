"""How far the followers of the events are behind."""

from __future__ import annotations

from typing import NamedTuple

from config.runtime import metrics
from config.runtime.database import raw_cursor
from config.runtime.sql import sql_file

LAG = sql_file("ledger/events", "lag")


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


def measure_lag() -> None:
    """Set the gauges of all followers."""
    for lag in lags():
        metrics.EVENTS_LAG.labels(lag.follower).set(lag.events)
        metrics.EVENTS_OLDEST_AGE.labels(lag.follower).set(lag.oldest_age_s)
        metrics.EVENTS_PARKED.labels(lag.follower).set(lag.parked)
