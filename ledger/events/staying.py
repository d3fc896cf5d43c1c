"""Work that may take long, on what a broker has given out: it hears meanwhile that we are there."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from ledger.events.transports.base import Source, TransportAway

STAY_EVERY_S = 1.0


class Staying:
    """`with` says that work is going on, in which nothing is asked of the source; `watch` keeps it there meanwhile."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._begun_at: float | None = None

    def watch(self, stop: threading.Event) -> None:
        """Have the source stay with its broker, every second of a work that takes longer, until `stop`."""
        while not stop.wait(STAY_EVERY_S):
            with self._lock:
                if self._begun_at is not None and time.monotonic() - self._begun_at >= STAY_EVERY_S:
                    with suppress(TransportAway):  # whoever asks it next hears of it
                        self._source.stay()

    def __enter__(self) -> Self:
        with self._lock:
            self._begun_at = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._begun_at = None
