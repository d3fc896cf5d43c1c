"""The relay: gives events their positions as they come. Any number may run; one is at it at a time."""

from __future__ import annotations

import threading

from django.db import DatabaseError

from config.runtime.database import release_connections
from config.runtime.logging import get_logger
from ledger.events.numbering import SIZE, number_events

# Nobody says when an event is recorded: that would cost every posting. While events come the relay looks often, and not
# more often than that: a round has a price of its own.
PAUSE_S, PAUSE_S_MAX = 0.05, 0.25
AWAY_S = 1.0

log = get_logger()


def relay(stop: threading.Event) -> None:
    """Number events until `stop`; survive the database being away."""
    log.info("relay.ready")
    pause_s = PAUSE_S
    while not stop.is_set():
        try:
            count = number_events()
        except DatabaseError as error:
            log.warning("relay.database_away", error=str(error))
            count, pause_s = 0, AWAY_S
        finally:
            release_connections()
        if count:
            pause_s = PAUSE_S
        if count < SIZE:
            stop.wait(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)
