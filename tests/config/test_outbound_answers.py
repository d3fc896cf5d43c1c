"""The guarded HTTP client against receivers that are slow, broken or hostile: what it endures and how it ends."""

import gzip
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.runtime.errors import Kind
from config.runtime.outbound import Answer, OutboundFailed, Timings
from tests.config.sink import (
    OK,
    Sink,
    call,
    endless,
    ignoring,
    read_request,
    resolving,
    say,
    send,
    serving,
)

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def sinks() -> Iterator[Callable[..., Sink]]:
    with serving() as make:
        yield make


def failure(sink: Sink, **options: Any) -> str:
    with pytest.raises(OutboundFailed) as failed:
        call(sink, **options)
    assert failed.value.kind is Kind.BUSY
    assert failed.value.fields == {"reason": failed.value.reason}
    return failed.value.reason


@pytest.mark.parametrize("status", [200, 204, 299, 304, 404, 410, 429, 500, 502, 503, 504])
def test_any_status_is_an_answer(sinks, status):
    sink = sinks(
        say(b"HTTP/1.1 %d Whatever\r\nX-A: 1\r\nx-a: 2\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n" % status)
    )

    answer = call(sink)

    assert (answer.status, answer.body, answer.truncated) == (status, b"", False)
    assert answer.headers == {"x-a": "1, 2", "retry-after": "7", "content-length": "0"}
    assert answer.retry_after_s(now=NOON) == 7
    assert all(seconds >= 0 for seconds in (answer.timings.dns_s, answer.timings.answer_s, answer.timings.body_s))


BOMB = gzip.compress(bytes(50_000_000))  # 48 KB
BODIES = {
    "any bytes": (b"\x00\xff\xfe\r\n\x80", b"\x00\xff\xfe\r\n\x80", False),
    "exactly the limit": (b"x" * 16384, b"x" * 16384, False),
    "one byte more": (b"x" * 16385, b"x" * 16384, True),
    "much more": (b"x" * 5_000_000, b"x" * 16384, True),
    "a gzip bomb": (BOMB, BOMB[:16384], True),
}


@pytest.mark.parametrize(("body", "kept", "truncated"), BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("framing", ["length", "chunked", "until it closes"])
def test_the_body_is_kept_as_sent_up_to_the_limit(sinks, framing, body, kept, truncated):
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
    framed = {
        "length": b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
        "until it closes": b"\r\n" + body,
    }

    answer = call(sinks(say(head + framed[framing])))

    assert (answer.status, answer.truncated) == (200, truncated)
    assert answer.body == kept


def test_an_endless_body_is_read_to_the_limit_and_no_further(sinks):
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    answer = call(sinks(endless(chunked, b"5\r\nhello\r\n" * 100)), body_limit=1000)

    assert (answer.body, answer.truncated) == (b"hello" * 200, True)
    assert failure(sinks(endless(chunked, b"1;" + b"x" * 8000 + b"\r\na\r\n"))) == "protocol"
    assert failure(sinks(endless(chunked + b"0\r\n", b"X-Trailer: x\r\n" * 100))) == "protocol"


SLOW = {
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}


@pytest.mark.parametrize(("head", "part"), SLOW.values(), ids=SLOW.keys())
def test_a_receiver_that_trickles_is_cut_off_at_the_deadline(sinks, head, part):
    sink = sinks(endless(head, part, pause_s=0.05))
    began = time.monotonic()

    assert failure(sink, total_timeout_s=0.4) == "timeout"

    assert 0.4 <= time.monotonic() - began < 2.0


@pytest.mark.parametrize("reads", [False, True], ids=["not at all", "slowly"])
def test_a_receiver_that_does_not_take_the_body_is_cut_off_at_the_deadline(sinks, reads):
    given_up = threading.Event()

    def script(connection: socket.socket) -> None:
        while not given_up.wait(0.02):
            if reads:
                connection.recv(65536)

    began = time.monotonic()
    try:
        sink = sinks(script)
        assert failure(sink, body=bytes(50_000_000), connect_timeout_s=0.1, total_timeout_s=0.4) == "timeout"
        assert 0.4 <= time.monotonic() - began < 2.0
    finally:
        given_up.set()


def test_a_receiver_that_says_nothing_is_cut_off_at_the_deadline(sinks):
    assert failure(sinks(ignoring), total_timeout_s=0.2) == "timeout"


def test_an_early_no_is_heard_though_the_body_was_not_taken(sinks):
    def script(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    assert call(sinks(script), body=bytes(20_000_000)).status == 413


LARGE_HEADS = {
    "one long line": b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * 1_000_000 + b"\r\n\r\n",
    "a long status": b"HTTP/1.1 200 " + b"x" * 1_000_000,
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n",
    "many small headers": b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 101 + b"\r\n",
    "many long headers": b"HTTP/1.1 200 OK\r\n" + (b"X-A: " + b"x" * 2000 + b"\r\n") * 99 + b"\r\n",
    "interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000,
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100_000,
}


@pytest.mark.parametrize("head", LARGE_HEADS.values(), ids=LARGE_HEADS.keys())
def test_a_head_without_bounds_is_not_read_on(sinks, head):
    assert failure(sinks(say(head))) == "too_large_headers"


@pytest.mark.parametrize("status", [100, 102, 103])
def test_the_answer_is_the_one_after_the_interim_ones(sinks, status):
    interim = b"HTTP/1.1 %d Wait\r\nLink: </a>\r\n\r\n" % status

    answer = call(sinks(say(interim, interim, OK)))

    assert (answer.status, answer.body) == (200, b"ok")
    assert "link" not in answer.headers


BROKEN = {
    "nothing": b"",
    "HTTP/0.9": b"<html>hello</html>\r\n",
    "noise": bytes(range(256)) * 10,
    "a status of letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "a short body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
    "a short chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nshort",
    "a chunk of letters": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_not_http_fails_as_protocol(sinks, answer):
    assert failure(sinks(say(answer))) == "protocol"


def test_a_connection_reset_in_the_body_fails_as_protocol(sinks):
    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    assert failure(sinks(script)) == "protocol"


def test_a_malformed_header_line_is_passed_over_without_a_word_in_our_log(sinks, caplog):
    answer = call(sinks(say(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nno colon here\r\nX-B: 2\r\n\r\nok")))

    assert (answer.status, answer.headers["x-a"]) == (200, "1")
    assert caplog.text == ""


def test_a_closed_port_fails_as_connect():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take it meanwhile
        with pytest.raises(OutboundFailed) as failed:
            send("POST", f"http://127.0.0.1:{taken.getsockname()[1]}/", allow_loopback=True)

    assert failed.value.reason == "connect"


@contextmanager
def not_accepting(host: str, port: int = 0) -> Iterator[int]:
    """A port where a connection is neither accepted nor refused: the queue of its listener is full."""
    with ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.create_server((host, port), backlog=0))
        for _ in range(4):
            waiting = open_sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_a_receiver_that_does_not_accept_is_given_the_connect_timeout():
    began = time.monotonic()

    with not_accepting("127.0.0.1") as port, pytest.raises(OutboundFailed) as failed:
        send("POST", f"http://127.0.0.1:{port}/", connect_timeout_s=0.3, allow_loopback=True)

    assert failed.value.reason == "timeout"
    assert 0.3 <= time.monotonic() - began < 2.0


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.9 is an address of its own on Linux only")
def test_an_address_that_does_not_accept_leaves_the_next_its_time(sinks):
    sink = sinks()
    url = f"http://hooks.example.com:{sink.port}/"
    resolver = resolving(["127.0.0.9", "127.0.0.1"])

    with not_accepting("127.0.0.9", sink.port):
        answer = send("POST", url, resolver=resolver, connect_timeout_s=1.0, allow_loopback=True)

    assert (answer.status, answer.address) == (200, "127.0.0.1")
    assert 0.5 <= answer.timings.connect_s < 1.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("086400", 86400),
        ("999999999999", 86400),
        ("-1", None),
        ("1e309", None),
        ("1.5", None),
        ("\uff11\uff12", None),
        ("soon", None),
        ("", None),
        ("9" * 5000, None),
        ("Sat, 21 Nov 2026 12:01:40 GMT", 100),
        ("Sat, 21 Nov 2026 12:01:40 -0000", 100),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0),
        ("Thu, 31 Dec 2099 23:59:59 GMT", 86400),
        ("Sat, 21 Nov 99999 12:00:00 GMT", None),
        ("Sat, 21 Nov 2026 12:00:00 +99999999999999", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(value, seconds):
    answer = Answer(
        503, {"retry-after": value}, b"", truncated=False, address="8.8.8.8", timings=Timings(0, 0, 0, 0, 0)
    )

    assert answer.retry_after_s(now=NOON) == seconds


@given(st.text())
def test_no_retry_after_breaks_the_reader(value):
    answer = Answer(
        503, {"retry-after": value}, b"", truncated=False, address="8.8.8.8", timings=Timings(0, 0, 0, 0, 0)
    )

    assert (answer.retry_after_s(now=NOON) or 0) in range(86401)
