"""The end of a process of ours: what waits is flushed, and what is open is closed."""

from __future__ import annotations

import atexit
from contextlib import suppress

from django.db import Error as DatabaseFailure

from config.runtime import batching
from config.runtime.database import close_pools
from config.runtime.logging import get_logger

FLUSH_TIMEOUT_S = 5.0


def close_process() -> None:
    """Call this when nothing works any more in this process, which ends then."""
    # Late, because models need Django to be set up, and the broker imports this module before it is.
    from ledger.clients.usage import keep_usage

    if not batching.close_all(FLUSH_TIMEOUT_S):
        get_logger().error("shutdown.unflushed", timeout_s=FLUSH_TIMEOUT_S)
    with suppress(DatabaseFailure):  # a few seconds of counts are not worth more
        keep_usage()
    close_pools()
    # The processes that multiprocessing makes leave this out, and with it the last traces.
    atexit._run_exitfuncs()  # noqa: SLF001  (there is no other name for it)
