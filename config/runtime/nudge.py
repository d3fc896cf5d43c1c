"""Have something done soon, in a thread of its own, however many ask for it at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from config.runtime.logging import get_logger

log = get_logger()


class Nudge:
    """Calling it has `work` done soon after, at most once every `every_s`; a call costs microseconds.

    The thread is started by the first call, in each process.
    """

    _thread: threading.Thread | None

    def __init__(self, name: str, work: Callable[[], object], *, every_s: float) -> None:
        self._name, self._work, self._every_s = name, work, every_s
        self._begin_process()
        os.register_at_fork(after_in_child=self._begin_process)

    def __call__(self) -> None:
        if self._asked.is_set():
            return
        self._asked.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"nudge-{self._name}", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while self._asked.wait():
            self._asked.clear()
            try:
                self._work()
            except Exception:
                log.exception("nudge.failed", nudge=self._name)
            time.sleep(self._every_s)

    def _begin_process(self) -> None:
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._thread = None
