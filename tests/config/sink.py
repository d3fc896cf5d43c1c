"""Receivers on loopback: real sockets that follow a script and count who came."""

import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from config.runtime import outbound
from config.runtime.breaker import Breaker
from config.runtime.outbound import Answer, OutboundFailed

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Script = Callable[[socket.socket], None]


def say(*parts: bytes) -> Script:
    """A receiver that reads the request and answers with `parts`."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        for part in parts:
            connection.sendall(part)

    return script


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: ([0-9]+)", head, re.IGNORECASE)
    while length and len(body) < int(length[1]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


accepting = say(OK)


def ignoring(connection: socket.socket) -> None:
    """A receiver that takes what comes and says nothing until the caller gives up."""
    while connection.recv(65536):
        pass


def endless(head: bytes, part: bytes, pause_s: float = 0.0) -> Script:
    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline:
            connection.sendall(part)
            time.sleep(pause_s)

    return script


class Sink:
    """A receiver on loopback that counts the connections it accepts and follows a script on each."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script, self.tls = script, tls
        self.accepts = 0
        self.requests: list[bytes] = []
        self._listeners = [socket.create_server(("127.0.0.1", 0))]
        self.port: int = self._listeners[0].getsockname()[1]
        with suppress(OSError):  # where IPv6 is off, its forms of loopback reach nobody
            self._listeners.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        self._stop_reading, self._stop_writing = socket.socketpair()
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([*self._listeners, self._stop_reading], [], [])
            if self._stop_reading in ready:
                return
            connection, _ = ready[0].accept()
            self.accepts += 1
            self._threads.append(threading.Thread(target=self._talk, args=(connection,)))
            self._threads[-1].start()

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with suppress(OSError), connection:
            if self.tls is None:
                self.script(connection)
                return
            with self.tls.wrap_socket(connection, server_side=True) as secured:
                self.script(secured)

    def close(self) -> None:
        self._stop_writing.send(b"stop")
        for thread in self._threads:
            thread.join(10)
        for sock in (*self._listeners, self._stop_reading, self._stop_writing):
            sock.close()


@contextmanager
def serving() -> Iterator[Callable[..., Sink]]:
    """Give a function that starts sinks, and stop them all in the end."""
    made: list[Sink] = []

    def make(script: Script = accepting, tls: ssl.SSLContext | None = None) -> Sink:
        made.append(Sink(script, tls))
        return made[-1]

    try:
        yield make
    finally:
        for sink in made:
            sink.close()


def resolving(*answers: Sequence[str]) -> Callable[[str, int], Sequence[str]]:
    """A resolver that gives one answer after the other, and then none."""
    left = list(answers)

    def resolver(host: str, port: int) -> Sequence[str]:
        if not left:
            raise socket.gaierror(socket.EAI_NONAME, "asked more often than expected")
        return left.pop(0)

    return resolver


def breaker(**options: Any) -> Breaker:
    return Breaker("receiver", failures=(OutboundFailed,), **options)


def send(method: str, url: str, **options: Any) -> Answer:
    """Send behind a breaker of this call's own, which never opens, unless one is given."""
    return outbound.send(method, url, **({"breaker": breaker()} | options))


def call(sink: Sink, **options: Any) -> Answer:
    defaults: dict[str, Any] = {"allow_loopback": True, "total_timeout_s": 5.0, "body": b"{}"}
    return send("POST", f"http://127.0.0.1:{sink.port}/hook", **(defaults | options))
