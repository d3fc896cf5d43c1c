"""Clients that send slowly, against the real server: nobody without a key holds its threads."""

from __future__ import annotations

import http.client
import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from tests.acceptance.server import Server
from tests.people import Tenant

SOCKETS = 60


@pytest.fixture(scope="module")
def server(django_db_setup) -> Iterator[Server]:
    with Server() as running:
        yield running


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
