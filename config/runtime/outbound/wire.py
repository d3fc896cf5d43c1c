"""A connected socket under one deadline and a bound on what is read.

A timeout of a socket is one of each read: a receiver that sends a byte now and then never reaches it.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager

from config.runtime.outbound.errors import OutboundFailed, Reason


@contextmanager
def failing_as(reason: Reason) -> Iterator[None]:
    """Turn what sockets raise into OutboundFailed; `reason` is for what is neither slowness nor TLS."""
    try:
        yield
    except TimeoutError as error:
        raise OutboundFailed("timeout") from error
    except ssl.SSLError as error:
        raise OutboundFailed("tls") from error
    except OSError as error:
        raise OutboundFailed(reason) from error


def left_s(deadline: float) -> float:
    """Return the seconds that are left to `deadline` (monotonic).

    Raises:
        TimeoutError: none are.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class Wire:
    """What http.client needs of a socket. Closing is left to the owner: http.client closes before it reads the body."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def allow(self, size_bytes: int, *, beyond: Reason) -> None:
        """Let `size_bytes` more be read; whoever reads further fails for the reason `beyond`."""
        self._readable_bytes, self._beyond = size_bytes, beyond

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        with failing_as("protocol"):
            while view:
                self._sock.settimeout(left_s(self._deadline))
                try:
                    view = view[self._sock.send(view) :]
                except (BrokenPipeError, ConnectionResetError):
                    return  # the receiver stopped reading; why, it may have answered already

    def read_into(self, buffer: memoryview) -> int:
        with failing_as("protocol"):
            self._sock.settimeout(left_s(self._deadline))
            count = self._sock.recv_into(buffer)
        self._readable_bytes -= count
        if self._readable_bytes < 0:
            raise OutboundFailed(self._beyond)
        return count

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def settimeout(self, _timeout_s: object) -> None:
        """The deadline rules."""

    def close(self) -> None:
        """The owner closes the socket."""


class _Reader(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io passes nothing else
        return self._wire.read_into(buffer)
