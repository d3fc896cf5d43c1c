"""The load generator tells the truth about slow servers, and is for this machine alone."""

from __future__ import annotations

import itertools
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.generator import BROKEN, Generator, Load, Target, TargetRefusedError, target_of

GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"
STALL_S = 1.0

Answer = Callable[[int, socket.socket], None]


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[Target, list[int]]]:
    """A server that answers one request at a time: `answer` gets its number, from 0. Yields who was asked, and what."""
    numbers: list[int] = []
    one_at_a_time = threading.Lock()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(65_536):
                with one_at_a_time:
                    numbers.append(len(numbers))
                    answer(numbers[-1], self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Target("127.0.0.1", server.server_address[1]), numbers
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def generating(target: Target, *, connections: int = 8) -> Iterator[Generator]:
    generator = Generator(target, itertools.repeat(GET), connections=connections)
    try:
        yield generator
    finally:
        generator.close()


def stalls_once(number: int, client: socket.socket) -> None:
    if number == 100:
        time.sleep(STALL_S)
    client.sendall(OK)


def late(load: Load) -> int:
    """How many answers took more than a fifth of the stall."""
    return sum(latency > STALL_S / 5 for latency in load.latencies_s)


def test_a_stall_of_a_second_shows_in_the_open_loops_p99() -> None:
    with serving(stalls_once) as (target, numbers), generating(target) as generator:
        load = generator.open_loop(per_s=200, seconds=2)

    latencies = sorted(load.latencies_s)
    assert (len(latencies), len(numbers), load.statuses) == (400, 400, {200: 400})
    # Due during the stall: 200; those of its first four fifths are a fifth of it late, or more.
    assert late(load) >= 140
    assert latencies[int(0.99 * len(latencies))] >= 0.9 * STALL_S
    assert latencies[-1] < 2 * STALL_S


def test_the_same_stall_hides_from_a_closed_loop() -> None:
    with serving(stalls_once) as (target, _), generating(target) as generator:
        load = generator.closed_loop(seconds=1.5)

    assert len(load.latencies_s) > 800
    assert late(load) <= 8  # one for each connection


def test_the_rate_is_held_whatever_the_connections() -> None:
    with (
        serving(lambda _, client: client.sendall(OK)) as (target, numbers),
        generating(target, connections=2) as generator,
    ):
        load = generator.open_loop(per_s=500, seconds=0.5)

    assert len(numbers) == len(load.latencies_s) == len(load.late_s) == 250
    assert load.seconds >= 249 / 500
    assert 0 < load.cpu_s < load.seconds


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_loop_ends_when_it_is_told_to_and_with_all_its_answers(loop: str) -> None:
    with serving(lambda _, client: client.sendall(OK)) as (target, numbers), generating(target) as generator:

        def enough() -> bool:
            return generator.statuses[200] >= 20

        if loop == "closed":
            load = generator.closed_loop(seconds=30, stop=enough)
        else:
            load = generator.open_loop(per_s=200, seconds=30, stop=enough)

    assert 20 <= load.statuses[200] == len(numbers) < 40
    assert load.seconds < 5


def test_statuses_are_counted_and_broken_connections_are_opened_anew() -> None:
    def answer(number: int, client: socket.socket) -> None:
        if number % 3 == 2:
            client.shutdown(socket.SHUT_RDWR)
        else:
            client.sendall((OK, BUSY)[number % 3])

    with serving(answer) as (target, numbers), generating(target, connections=1) as generator:
        load = generator.open_loop(per_s=300, seconds=0.1)

    assert numbers == list(range(30))
    assert load.statuses == {200: 10, 503: 10, BROKEN: 10}


def test_an_answer_in_pieces_is_one_answer() -> None:
    def answer(_: int, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (OK[:10], OK[10:-1], OK[-1:]):
            client.sendall(piece)
            time.sleep(0.001)

    with serving(answer) as (target, _), generating(target) as generator:
        load = generator.open_loop(per_s=100, seconds=0.2)

    assert load.statuses == {200: 20}


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"])
def test_loopback_is_a_target(url: str) -> None:
    assert target_of(url).port == 8000


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1:80",
        "http://0.0.0.0:80",
        "http://[2001:db8::1]:80",
        "https://127.0.0.1:443",
        "http://127.0.0.1",
    ],
)
def test_what_is_not_on_loopback_is_refused(url: str) -> None:
    with pytest.raises(TargetRefusedError):
        target_of(url)


def test_an_unknown_benchmark_is_a_plain_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "moon"]) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"There is no benchmark moon. There are: {', '.join(BENCHMARKS)}.\n"
