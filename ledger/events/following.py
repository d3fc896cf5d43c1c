"""How a follower follows the events: in the lanes that this process has, from where it has come to, without an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import Protocol

import psycopg
from django.db import DatabaseError

from config.runtime import metrics
from config.runtime.clock import now
from config.runtime.database import release_connections
from config.runtime.logging import get_logger
from ledger.events.lanes import Lanes
from ledger.events.stream import Event, LaneLost, Window, begin, pass_over, read_window
from ledger.events.transports.base import TransportAway

LOOK_EVERY_S = 0.5
PAUSE_S, PAUSE_S_MAX = 0.02, 0.25
# Below the time after which the lanes of a silent process are taken from it.
AWAY_S, AWAY_S_MAX, WELL_AFTER_S = 0.1, 5.0, 30.0

log = get_logger()


class Follower(Protocol):
    """Who follows the events: a listener or a transport."""

    @property
    def name(self) -> str:
        """Its name: its cursors stand under it."""

    def can_go_on(self) -> bool:
        """Tell whether it can take more."""

    def take(self, window: Window) -> None:
        """Take a window's events and move its cursors, both or neither."""

    def take_again(self, event: Event) -> None:
        """Hand it an event that became a dead letter, alone; raise what keeps it from being taken."""

    def take_parked(self, lanes: Collection[int]) -> int:
        """Try again what could not be taken earlier and is due; return how many events left."""


def follow(follower: Follower, wake: threading.Event, stop: threading.Event) -> None:
    """Have a follower follow until `stop`, at once when `wake` is set; survive whoever is away."""
    away_s = AWAY_S
    while not stop.is_set():
        begun = time.monotonic()
        try:
            _follow(follower, wake, stop)
        except (psycopg.Error, DatabaseError, TransportAway, LaneLost) as error:
            # One that went well for a while fails anew.
            away_s = AWAY_S if time.monotonic() - begun > WELL_AFTER_S else min(2 * away_s, AWAY_S_MAX)
            metrics.EVENTS_AWAY.labels(follower.name).inc()
            log.warning("relay.away", follower=follower.name, error=str(error), pause_s=away_s)
            stop.wait(away_s)
        finally:
            release_connections()


def _follow(follower: Follower, wake: threading.Event, stop: threading.Event) -> None:
    begin(follower.name)
    lanes = Lanes(follower.name)
    look_at, pause_s = 0.0, PAUSE_S
    try:
        while not stop.is_set():
            if time.monotonic() >= look_at:
                _look(follower, lanes)
                look_at = time.monotonic() + LOOK_EVERY_S
            if lanes.owned and _round(follower, lanes.owned):
                pause_s = PAUSE_S
                continue
            release_connections()
            wake.wait(min(pause_s, max(0.0, look_at - time.monotonic())))
            wake.clear()
            pause_s = min(2 * pause_s, PAUSE_S_MAX)
    finally:
        lanes.close()


def _look(follower: Follower, lanes: Lanes) -> None:
    new = lanes.look()
    if new and (count := pass_over(follower.name, new)):
        log.error("relay.events_not_kept", follower=follower.name, lanes=count)


def _round(follower: Follower, lanes: Collection[int]) -> bool:
    """Do what there is to do; tell whether there may be more at once."""
    left = follower.take_parked(lanes)
    window = read_window(follower.name, lanes) if follower.can_go_on() else None
    if window is None:
        return left > 0
    follower.take(window)
    taken_at = now()
    metrics.EVENTS_TAKEN.labels(follower.name).inc(len(window.events))
    for event in window.events:
        metrics.EVENTS_LATENCY.labels(follower.name).observe((taken_at - event.occurred_at).total_seconds())
    return window.is_full or left > 0
