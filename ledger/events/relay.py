"""The relay: gives events their positions as they come, and has listeners and transports follow. Any number may run.

One at a time numbers; the lanes of each follower are shared out among all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

from django.conf import settings
from django.db import DatabaseError
from django.utils.module_loading import import_string

from config.runtime.database import release_connections
from config.runtime.logging import get_logger
from ledger.events.errors import EventGone
from ledger.events.first import Behind, First
from ledger.events.following import Follower, follow
from ledger.events.listeners import ListenerFollower
from ledger.events.models import DeadLetter
from ledger.events.numbering import SIZE, number_events
from ledger.events.publishing import TransportFollower
from ledger.events.replay import commits_itself
from ledger.events.stream import Event, listener_name, load_event
from ledger.events.transports.registry import open_transport
from ledger.events.wake import hear

# A round has a price of its own: not more often than that, however much happens; and by itself, since what wakes it may
# be lost, as often as this.
PAUSE_S_MIN = 0.02
PAUSE_S, PAUSE_S_MAX = 0.05, 0.25
AWAY_S = 1.0

Work = Callable[[threading.Event], None]

log = get_logger()


def followers() -> list[Follower]:
    """Return who follows: the listeners of `config/subscriptions.py`, and the transports of EVENTS_URL.

    Nothing is connected to yet.
    """
    listeners = [
        ListenerFollower(listener_name(name), import_string(path)) for name, path in settings.LISTENERS.items()
    ]
    transports = [open_transport(url) for url in settings.EVENTS_URLS]
    return [*listeners, *(TransportFollower(f"transport:{one.name}", one) for one in transports)]


def in_turn(who: Sequence[Follower]) -> list[Follower]:
    """Return these behind who is told first."""
    tell = import_string(settings.FIRST_TOLD)
    return [First(tell), *(Behind(tell, follower) for follower in who)]


def relay_works(who: Sequence[Follower]) -> dict[str, Work]:
    """Return what a relay does, each a thread's work: it hears, numbers, and each follower follows."""
    happened, wakes = threading.Event(), {follower.name: threading.Event() for follower in who}
    return {
        "wake": partial(hear, happened.set),
        "relay": partial(number, happened, list(wakes.values())),
        **{follower.name: partial(follow, follower, wakes[follower.name]) for follower in who},
    }


def number(happened: threading.Event, wakes: Sequence[threading.Event], stop: threading.Event) -> None:
    """Number events until `stop`, soon after they have `happened`, and wake who follows; survive an absent database."""
    log.info("relay.ready")
    pause_s = PAUSE_S
    while not stop.is_set():
        happened.clear()
        try:
            count = number_events()
        except DatabaseError as error:
            log.warning("relay.database_away", error=str(error))
            count, pause_s = 0, AWAY_S
        finally:
            release_connections()
        for wake in wakes if count else ():
            wake.set()
        if count == SIZE:
            continue
        if count:
            pause_s = PAUSE_S
        stop.wait(PAUSE_S_MIN)
        happened.wait(pause_s)
        pause_s = min(2 * pause_s, PAUSE_S_MAX)


def tell_again(letter: DeadLetter) -> None:
    """Hand an event that became a dead letter to its listener again, whatever has come after it.

    Call inside a database transaction.

    Raises:
        EventGone: the event, or the listener, is not there any more.
    """
    follower, event = _of(letter)
    follower.take_again(event)


@commits_itself
def publish_again(letter: DeadLetter) -> None:
    """Publish an event that became a dead letter, behind all that its broker has got since.

    Raises:
        EventGone: the event, or the transport, is not there any more.
        TransportAway, MessageRefused: as it was.
    """
    follower, event = _of(letter)
    assert isinstance(follower, TransportFollower)
    try:
        follower.take_again(event)
    finally:
        follower.transport.close()


def _of(letter: DeadLetter) -> tuple[Follower, Event]:
    """Return who could not take an event, and the event."""
    follower = next((one for one in followers() if one.name == letter.consumer), None)
    event = load_event(int(letter.offset))
    if follower is None or event is None:
        raise EventGone
    return follower, event
