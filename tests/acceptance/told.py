"""What brokers were told of keys, and whether it is all of it and in order."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

import msgspec

from ledger.events.models import EventPosition
from ledger.events.numbering import number_events
from ledger.events.stream import begin
from ledger.events.transports.base import Source
from tests.ledger.followed import FROM_NOW, execute


def begun(*followers: str) -> None:
    """Have followers begin with what happens from now on."""
    while number_events():
        pass
    for follower in followers:
        begin(follower)
        execute(FROM_NOW, follower)


def told_in_order(told: Iterable[tuple[str, int]], expected: dict[str, int]) -> None:
    """Assert that each key's events came without a gap, and again only as they had come before."""
    last: dict[str, int] = defaultdict(int)
    for key, sequence in told:
        if key in expected:
            assert sequence <= last[key] + 1, f"{sequence} after {last[key]}"
            last[key] = max(last[key], sequence)
    assert dict(last) == expected


def recorded(keys: list[UUID]) -> dict[str, int]:
    return {str(key): EventPosition.objects.filter(key=key).count() for key in keys}


def told_by(source: Source, keys: set[str], count: int) -> list[tuple[str, int]]:
    """Take from a broker until so many different events of these keys have come."""
    told, different = list[tuple[str, int]](), set[tuple[str, int]]()
    deadline = time.monotonic() + 60
    while len(different) < count:
        assert time.monotonic() < deadline, f"{len(different)} of {count} events have come"
        received = source.poll(size=500, timeout_s=0.5)
        found = [(one.key, int(msgspec.json.decode(one.value)["sequence"])) for one in received if one.key in keys]
        told += found
        different.update(found)
        source.done(received)
    return told
