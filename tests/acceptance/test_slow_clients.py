"""Clients that say little, too much or nothing, against the real server: nobody keeps it from serving others."""

from __future__ import annotations

import http.client
import json
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from uuid import uuid4

import pytest

from tests.acceptance.server import Server
from tests.people import Tenant

SOCKETS = 60
# More than granian would have at a time where it is told of no number but that of the backlog.
BACKLOG, CROWD = 512, 600
HEADERS_WITHIN_MS = 500


@pytest.fixture(scope="module")
def server(django_db_setup) -> Iterator[Server]:
    """A server that waits half a second for who has not said what he wants."""
    server = Server()
    server.arguments += f" --http1-header-read-timeout {HEADERS_WITHIN_MS}"
    with server:
        yield server


@pytest.fixture(scope="module")
def crowded(django_db_setup) -> Iterator[Server]:
    """A server with a short queue."""
    crowded = Server()
    crowded.arguments += f" --backlog {BACKLOG}"
    with crowded:
        yield crowded


def connected(server: Server, said: bytes = b"", *, window: int | None = None) -> socket.socket:
    """Connect and say so much; with a `window` the kernel takes no more bytes than that which nobody reads."""
    client = socket.socket()
    client.settimeout(10)
    if window is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    client.connect(("127.0.0.1", server.port))
    client.sendall(said)
    return client


def served(server: Server, bank: Tenant) -> list[int]:
    """Ask from a connection of one's own, without a key and with one."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    statuses = []
    for path in ("/livez", "/v2/accounts"):
        connection.request("GET", path, headers={"Authorization": f"Bearer {bank.key}"})
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    return statuses


LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = b"GET /v2/schema HTTP/1.1\r\nHost: localhost\r\n\r\n"
SAID = {
    "nothing": b"",
    "half a line": b"GET /livez HT",
    "half a header": LIVEZ[:-4] + b"\r\nX-Slow: ",
    "all that there is to say": LIVEZ,
    "a body to come": b"POST /v2/accounts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
    "a chunk to come": b"POST /v2/accounts HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
    "another protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_a_crowd_that_said_little_and_stays_does_not_stop_others(crowded: Server, bank: Tenant, said: bytes) -> None:
    with ExitStack() as held:
        for _ in range(CROWD):
            held.enter_context(connected(crowded, said))

        assert served(crowded, bank) == [200, 200]


def test_sixty_who_do_not_read_what_they_asked_for_do_not_stop_others(server: Server, bank: Tenant) -> None:
    with ExitStack() as held:
        for _ in range(SOCKETS):
            held.enter_context(connected(server, LARGE * 2, window=4096))

        assert served(server, bank) == [200, 200]


def test_sixty_who_are_gone_when_they_are_answered_do_not_stop_others(server: Server, bank: Tenant) -> None:
    at_once = struct.pack("ii", 1, 0)
    for _ in range(SOCKETS):
        with connected(server, LARGE, window=4096) as client:
            assert client.recv(1) == b"H"
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)  # closing it says RST

    assert served(server, bank) == [200, 200]


@pytest.mark.parametrize("said", ["nothing", "half a line", "half a header", "all that there is to say"])
def test_who_does_not_say_in_time_what_he_wants_is_let_go(server: Server, said: str) -> None:
    with connected(server, SAID[said]) as client:
        told = b"".join(iter(lambda: client.recv(1 << 16), b""))

    assert told[:12] in ({b"HTTP/1.1 200"} if SAID[said] == LIVEZ else {b"", b"HTTP/1.1 408"})


@pytest.mark.parametrize(
    "headers", [{"X-Large": "x" * (1 << 20)}, {f"X-{n}": "x" for n in range(1000)}], ids=["one large", "a thousand"]
)
def test_headers_that_are_too_large_or_too_many_are_refused_and_others_served(
    server: Server, bank: Tenant, headers: dict[str, str]
) -> None:
    with connected(server) as client:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with suppress(ConnectionError):  # it is closed before the last of them is sent
            client.sendall(f"GET /livez HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 431 ")

    assert served(server, bank) == [200, 200]


def test_a_header_of_what_a_header_holds_is_read(server: Server, bank: Tenant) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/v2/me", headers={"Authorization": f"Bearer {bank.key}", "X-Large": "x" * 16_384})

    assert connection.getresponse().status == 200
    connection.close()


def trickle(server: Server, key: str, *, length: int) -> socket.socket:
    """Send a request's head and a little of its body."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    client.sendall(
        f"POST /v2/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nIdempotency-Key: {uuid4()}\r\nContent-Length: {length}\r\n\r\n{{".encode()
    )
    return client


def seconds_of_livez(server: Server) -> float:
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/livez")
    assert connection.getresponse().status == 200
    connection.close()
    return time.monotonic() - begun


def test_sixty_slow_senders_without_a_valid_key_do_not_stop_the_service(server: Server) -> None:
    with ExitStack() as held:
        clients = [held.enter_context(trickle(server, "ch_nobody", length=1000)) for _ in range(SOCKETS)]

        assert seconds_of_livez(server) < 2
        answer = b"".join(iter(lambda: clients[0].recv(1 << 16), b""))

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in head
    assert json.loads(body)["code"] == "api_key_invalid"


def test_slow_senders_with_a_key_are_waited_for_a_few_at_a_time_and_not_for_long(server: Server, bank: Tenant) -> None:
    with ExitStack() as held:
        clients = [held.enter_context(trickle(server, bank.key, length=2 << 20)) for _ in range(SOCKETS)]

        assert seconds_of_livez(server) < 2
        deadline = time.monotonic() + 10
        while len(answered := select.select(clients, (), (), 0)[0]) < SOCKETS - 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(answered) >= SOCKETS - 4
        assert {client.recv(1 << 16)[:13] for client in answered} == {b"HTTP/1.1 413 "}


def test_whoever_has_a_key_reads_why_two_mebibytes_are_too_many(server: Server, bank: Tenant) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {"Authorization": f"Bearer {bank.key}", "Content-Type": "application/json"}
    for _ in range(3):  # on one connection: it stays usable
        connection.request("POST", "/v2/transactions", b" " * (2 << 20), headers | {"Idempotency-Key": str(uuid4())})
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (413, "body_too_large")
    connection.close()
