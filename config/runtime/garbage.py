"""Python's garbage collector in a process that serves for long."""

from __future__ import annotations

import gc

# Requests make few cycles and many objects: Python's 700 means a look at all of the young ones at every request.
YOUNG_MAX = 10_000


def settle() -> None:
    """Have the collector pass over what is there by now; call it once all is loaded, which then stays to the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX)
