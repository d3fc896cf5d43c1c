"""What becomes of events once they are recorded: numbered, and taken by whoever follows them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.contenders.loop import CLIENT, Transfer, Way, serve
from benchmarks.contenders.ours import Prepared
from config.runtime.garbage import settle
from ledger.clients.models import Client
from ledger.events.following import Follower
from ledger.events.listeners import ListenerFollower
from ledger.events.numbering import number_events
from ledger.events.publishing import TransportFollower
from ledger.events.relay import followers
from ledger.events.stream import LANES, Event, begin, read_window
from ledger.events.transports.null import NullTransport
from ledger.posting.engine import post

ALL = range(LANES)


def main() -> None:
    prepared = Prepared(Client.objects.get(name=CLIENT).pk)
    who: dict[str, Follower] = {
        "null": TransportFollower("transport:null", NullTransport()),
        "listener": ListenerFollower("listener:none", _hear),
        **{one.name.partition(":")[2]: one for one in followers()},
    }
    ways = {"number": Way(partial(_recorded, prepared), _number, _check)}
    for name, follower in who.items():
        begin(follower.name)
        ways[name] = Way(partial(_numbered, prepared, follower), partial(_taken, follower), _check)
    settle()  # as the processes of the service do
    serve(ways)


def _recorded(prepared: Prepared, transfers: Sequence[Transfer]) -> int:
    """Book transfers; all events before theirs have their positions."""
    _number(0)
    post(prepared.intents(transfers))
    return len(transfers)


def _numbered(prepared: Prepared, follower: Follower, transfers: Sequence[Transfer]) -> int:
    """Book transfers and number their events; all events before theirs the follower has taken."""
    _number(0)
    _take(follower)
    count = _recorded(prepared, transfers)
    _number(count)
    return count


def _number(expected: int) -> tuple[int, int]:
    counted = 0
    while count := number_events():
        counted += count
    return expected, counted


def _taken(follower: Follower, expected: int) -> tuple[int, int]:
    return expected, _take(follower)


def _take(follower: Follower) -> int:
    taken = 0
    while (window := read_window(follower.name, ALL)) is not None:
        follower.take(window)
        taken += len(window.events)
    return taken


def _check(counts: tuple[int, int]) -> None:
    expected, counted = counts
    assert counted == expected, f"{counted} of {expected}"


def _hear(events: Sequence[Event]) -> None:
    """Write nothing: what is measured is that it is called."""


if __name__ == "__main__":
    main()
