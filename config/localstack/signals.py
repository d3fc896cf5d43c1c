"""What stops the stack: Ctrl-C, SIGTERM, and the end of the terminal."""

from __future__ import annotations

import signal
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt_on_stop_signals() -> None:
    """Make the first of them raise KeyboardInterrupt in the main thread; the next ones do nothing."""
    for number in STOP_SIGNALS:
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue  # under nohup the end of the terminal is no reason to stop
        signal.signal(number, _interrupt)


def ignore_stop_signals() -> None:
    """From here on the process only cleans up."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    ignore_stop_signals()
    raise KeyboardInterrupt
