"""Whether this process has been told to stop: whoever works in rounds asks between them and begins no new one."""

from __future__ import annotations

import threading

_told = threading.Event()


def begin() -> bool:
    """Note that the process is to stop; tell whether this was the first to say so."""
    first = not _told.is_set()
    _told.set()
    return first


def stopping() -> bool:
    """Tell whether the process is to stop."""
    return _told.is_set()


def wait(timeout_s: float) -> bool:
    """Sleep for `timeout_s`, or until the process is to stop; tell whether it is."""
    return _told.wait(timeout_s)


def forget() -> None:
    """Begin anew: work starts again in this process, or none is left to be told."""
    _told.clear()
