"""File locks: the kernel frees them when their last holder is gone, however it died, so that they never lie."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class FileLock:
    """One open lock file. Its text says who holds it; processes that inherit the descriptor hold it too."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def acquire(self, *, shared: bool = False, wait: bool = False) -> bool:
        """Take the lock and say whether that worked; with `wait` it always does."""
        try:
            fcntl.flock(self.descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def write(self, text: str) -> None:
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text.encode(), 0)

    def read(self) -> str:
        return os.pread(self.descriptor, 1000, 0).decode()

    def release(self) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def keep_after_exec(self) -> None:
        """Let the program that this process becomes hold the lock as long as it runs."""
        os.set_inheritable(self.descriptor, True)

    def close(self) -> None:
        """Let go. Whoever inherited the descriptor still holds the lock."""
        os.close(self.descriptor)
