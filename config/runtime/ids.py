"""Time-ordered identifiers (RFC 9562, version 7), made in the process before any round trip."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

# Digits and capitals without I, L, O and U: nothing that people mistake for another (Crockford's base32).
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ENTROPY_SIZE = 4096

_lock = threading.Lock()
_last_tick = 0
_entropy = b""


def uuid7() -> UUID:
    """Return a UUIDv7 that is greater than every earlier one of this process."""
    return uuid7s(1)[0]


def uuid7s(count: int) -> list[UUID]:
    """Return rising UUIDv7s, greater than every earlier one of this process.

    48 bits of milliseconds, 12 bits of their fraction (RFC 9562 §6.2, method 3), 62 random bits.
    """
    global _last_tick, _entropy  # noqa: PLW0603  (order within the process is the point)
    ns = time.time_ns()
    tick = ns // 1_000_000 << 12 | (ns % 1_000_000 << 12) // 1_000_000
    with _lock:
        first = max(tick, _last_tick + 1)
        _last_tick = first + count - 1
        if len(_entropy) < 8 * count:
            # For many at once: every call of the system lets another thread in.
            _entropy = os.urandom(max(8 * count, ENTROPY_SIZE))
        random, _entropy = _entropy[: 8 * count], _entropy[8 * count :]
    return [_assembled(first + place, random[8 * place : 8 * place + 8]) for place in range(count)]


def _assembled(tick: int, random: bytes) -> UUID:
    high = (tick >> 12) << 80 | 7 << 76 | (tick & 0xFFF) << 64
    return UUID(int=high | 2 << 62 | int.from_bytes(random, "big") >> 2)


def _begin_process() -> None:
    """Draw anew: parent and child must not spend the same random bits, nor wait for a lock of the other's."""
    global _lock, _entropy
    _lock, _entropy = threading.Lock(), b""


os.register_at_fork(after_in_child=_begin_process)


def moment_of(identifier: UUID) -> datetime:
    """Return when a UUIDv7 was made, to the millisecond."""
    return EPOCH + timedelta(milliseconds=identifier.int >> 80)


def first_at(moment: datetime) -> UUID:
    """Return the lowest UUIDv7 of a moment's millisecond: the bound of a range by time."""
    ms = max(0, (moment - EPOCH) // timedelta(milliseconds=1))
    return UUID(int=min(ms, (1 << 48) - 1) << 80)
