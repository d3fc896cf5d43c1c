"""A load generator for HTTP/1.1 on loopback: requests on keep-alive connections, from one thread.

Closed loop: every connection sends its next request when it has its answer; that finds the throughput at saturation.
Open loop: requests are due at fixed instants, and latency counts from the instant, not from the sending. A server that
stalls for a second makes every request late that was due meanwhile, as its users would see it; a closed loop would
have sent none of them (coordinated omission).
"""

from __future__ import annotations

import ipaddress
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

ANSWER_WITHIN_S = 30.0
RECEIVE_BYTES = 65_536
BROKEN = 0  # stands for the status where the connection ended before the answer

Stop = Callable[[], bool]


class TargetRefusedError(ValueError):
    """Load is for servers on this machine alone."""


class Target(NamedTuple):
    """A server on loopback."""

    host: str
    port: int


def target_of(url: str) -> Target:
    """Return the server of `http://HOST:PORT`.

    Raises:
        TargetRefusedError: it is not plain HTTP, or an address of the host is not loopback.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or not parts.port:
        raise TargetRefusedError(f"{url} is not of the form http://HOST:PORT.")
    found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    addresses = [str(address[0]) for *_, address in found]
    if not all(ipaddress.ip_address(address).is_loopback for address in addresses):
        raise TargetRefusedError(f"{url} is not on loopback.")
    return Target(addresses[0], parts.port)


@dataclass(slots=True)
class Load:
    """What was measured, in seconds, in the order of the answers; `statuses` counts the answers by status.

    `late_s` is how long after their instants the requests were sent, for want of an idle connection or of CPU: where
    the CPU was short, latencies are partly the generator's own.
    """

    latencies_s: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    cpu_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.latencies_s) / self.seconds


def _never() -> bool:
    return False


class Generator:
    """Holds `connections` to one target. What `requests` yields is sent as it is: one whole request each."""

    def __init__(self, target: Target, requests: Iterator[bytes], *, connections: int) -> None:
        self._requests = requests
        self._idle = [_Connection(target) for _ in range(connections)]
        self._busy: dict[int, _Connection] = {}
        self._load = Load()

    @property
    def statuses(self) -> Counter[int]:
        """Of the answers so far, while a loop runs."""
        return self._load.statuses

    def closed_loop(self, *, seconds: float, stop: Stop = _never) -> Load:
        """Keep every connection busy for so long, or until `stop()`, then wait for the last answers."""
        cpu_begun, begun = time.process_time(), time.perf_counter()
        until = begun + seconds
        while (now := time.perf_counter()) < until and not stop():
            while self._idle:
                self._send(due=now)
            self._receive(timeout_s=ANSWER_WITHIN_S)
        return self._finish(begun, cpu_begun)

    def open_loop(self, *, per_s: float, seconds: float, stop: Stop = _never) -> Load:
        """Send `per_s` requests a second, evenly spread, whatever becomes of them; then wait for the last answers.

        It takes so many seconds, or less if `stop()` says so.
        """
        cpu_begun, begun = time.process_time(), time.perf_counter()
        for number in range(round(per_s * seconds)):
            if stop():
                break
            due = begun + number / per_s
            while (left_s := due - time.perf_counter()) > 0 or not self._idle:
                self._receive(timeout_s=left_s if self._idle else ANSWER_WITHIN_S)
            self._send(due=due)
        return self._finish(begun, cpu_begun)

    def close(self) -> None:
        for connection in (*self._idle, *self._busy.values()):
            connection.close()

    def _finish(self, begun: float, cpu_begun: float) -> Load:
        while self._busy:
            self._receive(timeout_s=ANSWER_WITHIN_S)
        load, self._load = self._load, Load()
        load.seconds, load.cpu_s = time.perf_counter() - begun, time.process_time() - cpu_begun
        return load

    def _send(self, *, due: float) -> None:
        connection = self._idle.pop()
        self._load.late_s.append(time.perf_counter() - due)
        self._busy[connection.send(next(self._requests), due=due)] = connection

    def _receive(self, *, timeout_s: float) -> None:
        """Wait for answers, at most so long. The timeout of select is exact to a microsecond, that of epoll is not."""
        if not self._busy:
            time.sleep(timeout_s)
            return
        ready, _, _ = select.select(list(self._busy), (), (), timeout_s)
        if not ready and timeout_s == ANSWER_WITHIN_S:
            raise TimeoutError(f"no answer within {ANSWER_WITHIN_S:.0f} s")
        for descriptor in ready:
            connection = self._busy[descriptor]
            status = connection.receive()
            if status is not None:
                self._load.latencies_s.append(time.perf_counter() - connection.due)
                self._load.statuses[status] += 1
                del self._busy[descriptor]
                self._idle.append(connection)


class _Connection:
    """One connection, with at most one request under way."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._socket: socket.socket | None = None
        self._received = b""
        self._status: int | None = None
        self._left = 0
        self.due = 0.0

    def send(self, request: bytes, *, due: float) -> int:
        """Send a request and return the descriptor on which its answer arrives."""
        self.due, self._received, self._status = due, b"", None
        if self._socket is None:
            self._socket = socket.create_connection(self._target)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):  # reading says so too, and there it is counted
            self._socket.sendall(request)
        return self._socket.fileno()

    def receive(self) -> int | None:
        """Read what is there; return the status once the answer is whole, BROKEN when none comes any more."""
        assert self._socket is not None
        try:
            piece = self._socket.recv(RECEIVE_BYTES)
        except ConnectionError:
            piece = b""
        if not piece:
            self.close()
            return BROKEN
        if self._status is None:
            self._received += piece
            head, end, body = self._received.partition(b"\r\n\r\n")
            if not end:
                return None
            self._status, self._left = int(head[9:12]), _length(head) - len(body)
        else:
            self._left -= len(piece)  # of a body the length alone is looked at: a statement has megabytes
        return self._status if self._left <= 0 else None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _length(head: bytes) -> int:
    """Return the length of an answer's body.

    Raises:
        ValueError: the answer does not name it (it is chunked): not what our servers send.
    """
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    if not found:
        raise ValueError(f"an answer without Content-Length: {head!r}")
    return int(rest.partition(b"\r\n")[0])
