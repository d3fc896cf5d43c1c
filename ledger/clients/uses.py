"""When keys were last used, kept once a minute for each by a thread of its own: no request waits for it."""

from __future__ import annotations

import os
import threading
from datetime import datetime, timedelta

from config.runtime.database import release_connections
from config.runtime.nudge import Nudge
from ledger.clients.models import ApiKey
from ledger.clients.services import note_uses

KEPT_EVERY = timedelta(minutes=1)
PENDING_MAX = 10_000

_lock = threading.Lock()
_pending: dict[str, datetime] = {}


def note_use(key: ApiKey, *, now: datetime) -> None:
    """Have it kept that a key is used, unless that was kept in the last minute; when 10,000 wait, others do not."""
    if key.last_used_at is not None and now - key.last_used_at < KEPT_EVERY:
        return
    with _lock:
        if key.pk in _pending or len(_pending) < PENDING_MAX:
            _pending[key.pk] = now
    _wake()


def keep_uses() -> None:
    """Keep what waits."""
    with _lock:
        used = dict(_pending)
        _pending.clear()
    try:
        note_uses(used)
    finally:
        release_connections()


_wake = Nudge("key-uses", keep_uses, every_s=1.0)


def _begin_process() -> None:
    """A child has none of its parent's threads: one of them may have held the lock."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _pending.clear()


os.register_at_fork(after_in_child=_begin_process)
