"""Wake the relay when something has happened: beside the commit, never in it, and nothing depends on it.

A NOTIFY in the writing transaction would have all commits wait for one another. This is a message of Redis, at most 20
a second from each process; where it is lost, the relay looks by itself a moment later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from django.conf import settings

from config.runtime.nudge import Nudge
from config.runtime.redis import RedisAway, listen, redis_client

CHANNEL = "countinghouse:events"
EVERY_S = 0.05


def hear(heard: Callable[[], None], stop: threading.Event) -> None:
    """Call `heard` whenever something has happened, until `stop`."""
    listen(settings.REDIS_URL, CHANNEL, heard, stop)


def _publish() -> None:
    with suppress(RedisAway):  # the relay looks by itself
        redis_client(settings.REDIS_URL).publish(CHANNEL, b"")


wake_relay = Nudge("events", _publish, every_s=EVERY_S)
