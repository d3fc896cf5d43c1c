"""A process of threads that work until it is told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping

from django.core.management.base import CommandError

GRACE_S = 1.0


def run_threads(works: Mapping[str, Callable[[threading.Event], None]]) -> bool:
    """Run each work in a thread of its name until SIGTERM or Ctrl-C sets its event; tell whether all have ended then.

    In threads, because a frozen database would hold up the main one beyond the time it has to stop.

    Raises:
        CommandError: one of them has died.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threads = [threading.Thread(target=work, args=(stop,), name=name, daemon=True) for name, work in works.items()]
    for thread in threads:
        thread.start()
    while all(thread.is_alive() for thread in threads) and not stop.wait(1.0):
        pass
    if not stop.is_set():
        dead = next(thread.name for thread in threads if not thread.is_alive())
        raise CommandError(f"The thread of the {dead} has died. The log says why.")
    for thread in threads:
        thread.join(GRACE_S)
    return not any(thread.is_alive() for thread in threads)
