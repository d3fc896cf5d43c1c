"""Loopback ports."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Say whether nobody listens on the port."""
    return free_port(port) == port


def free_port(preferred: int) -> int:
    """Return the preferred port if nobody listens there, else any free one."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            # What closed a minute ago (TIME_WAIT) does not count as taken; who listens does.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("there is no free port")
