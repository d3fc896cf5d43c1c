"""What the tests send through a broker, and how they take it out again."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ledger.events.transports.base import Message, Received, Source

PATIENCE_S = 30


def batch(topic: str, numbers: range, *, keys: int = 5, size_bytes: int = 0) -> list[Message]:
    """Return messages that are numbered; each key has every fifth."""
    return [
        Message(
            topic,
            f"key-{number % keys}",
            f"{number}:".encode().ljust(size_bytes, b"x"),
            {"ce_id": f"id-{number}", "ce_type": "transaction.completed", "content-type": "application/json"},
        )
        for number in numbers
    ]


def take(source: Source, count: int, *, patience_s: float = PATIENCE_S) -> list[Received]:
    """Poll until so many have come."""
    received: list[Received] = []
    deadline = time.monotonic() + patience_s
    while len(received) < count:
        assert time.monotonic() < deadline, f"{len(received)} of {count} have come"
        received += source.poll(size=500, timeout_s=0.2)
    return received


def take_rest(source: Source, *, quiet_s: float = 1.5) -> list[Received]:
    """Poll until nothing has come for a while."""
    received: list[Received] = []
    quiet_at = time.monotonic() + quiet_s
    while time.monotonic() < quiet_at:
        if found := source.poll(size=500, timeout_s=0.2):
            received += found
            quiet_at = time.monotonic() + quiet_s
    return received


def number(message: Message | Received) -> int:
    return int(message.value.split(b":")[0])


def by_key(messages: Sequence[Message | Received]) -> dict[str, list[int]]:
    """Return the numbers of each key, in the order in which they came."""
    keys: dict[str, list[int]] = {}
    for message in messages:
        keys.setdefault(message.key, []).append(number(message))
    return keys


def firsts(numbers: Sequence[int]) -> list[int]:
    """Return them without what came again."""
    return list(dict.fromkeys(numbers))
