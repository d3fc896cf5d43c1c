"""The guarded HTTP client against a real receiver: where it does not go, and what it sends."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.runtime import tracing
from config.runtime.breaker import BreakerOpen, BreakerState
from config.runtime.errors import Kind
from config.runtime.outbound import AddressBlocked, OutboundFailed, OutboundRefused, vet_url
from config.runtime.outbound.dns import LOOKUPS_MAX
from tests.config.sink import OK, Sink, breaker, call, read_request, resolving, say, send, serving

PUBLIC = "93.184.216.34"
NAME = "hooks.example.com"


@pytest.fixture
def sinks() -> Iterator[Callable[..., Sink]]:
    with serving() as make:
        yield make


@pytest.fixture
def sink(sinks: Callable[..., Sink]) -> Sink:
    return sinks()


@pytest.fixture(autouse=True)
def _hosts(settings) -> None:
    settings.ALLOWED_HOSTS = ["api.countinghouse.test", ".pay.test", "8.8.4.4", "127.0.0.1", "localhost", "*"]
    settings.OUTBOUND_ALLOW_LOOPBACK = False


# Where calls may not go


BLOCKED_HOSTS = [
    "127.0.0.1", "127.0.0.53", "127.255.255.254", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[::5efe:7f00:1]", "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::1]", "169.254.169.254", "[fd00:ec2::254]",
    "100.100.100.200", "192.0.0.192", "168.63.129.16", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "100.64.0.1", "198.18.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "[fe80::1]", "[fec0::1]", "[fc00::1]", "[ff02::1]", "[100::1]", "[2001:db8::1]", "[3fff::1]",
    "[5f00::1]", "localhost", "LOCALHOST", "localhost.", "intranet", "metadata.google.internal", "printer.local",
    "a.localhost", "metadata.google.internal.", "router.home.arpa", "127.0.0.1.", "API.countinghouse.test",
    "eu.pay.test.", "8.8.4.4", "pay.test",
]  # fmt: skip
INVALID_HOSTS = [
    "127.1", "0", "2130706433", "017700000001", "0x7f000001", "0x7f.1", "0177.0.0.1", "2852039166", "127.0.0.1.1",
    "0x", "a.0x7f", "256.0.0.1", "127.0.0.01", "1.2.3", "example.1", "\uff11\uff12\uff17.0.0.1", "①②⑦.⓪.⓪.①",
    "127\u30020\u30020\u30021", "127\uff0e0\uff0e0\uff0e1", "\uff45xample.com", "faß.example.com",
    "exa\u00admple.com", "exa\u200bmple.com", "ex\u00a0ample.com", "", ".", "..", "a..b", ".example.com",
    "example.com..", "-a.com", "a-.com", "a_b.com", "a" * 64 + ".com", "exam%70le.com", "good.com%00.127.0.0.1",
    "[::1]good.com", "[::1", "::1", "[fe80::1%25eth0]", "[127.0.0.1]", "[]", "good.com@127.0.0.1",
    "user:password@example.com", "@127.0.0.1", "a." * 127 + "com", "xn--\u00fc.com", "a,b.com",
]  # fmt: skip
INVALID_URLS = [
    "http:///127.0.0.1/", "http:127.0.0.1", "//127.0.0.1/", "http:/127.0.0.1", "127.0.0.1", "", "http://",
    "https:///", "javascript:alert(1)", "file:///etc/passwd", "gopher://127.0.0.1/", "ftp://example.com/",
    "ws://example.com/", "http://good.com\\@127.0.0.1/", "http://127.0.0.1\\@good.com/",
    "http://127.0.0.1#@good.com/", "http:\\\\a.com", "http://127.0.0.1\t/", "ht\ntp://127.0.0.1/",
    " http://example.com/", "http://example.com/ ", "http://a.com/\x7f", "http://example.com/a b",
    "http://example.com/\r\nHost: x", "http://example.com/\x00", "http://example.com/#top",
    "http://example.com/\u00e9", "http://example.com/?q=\u2028", "http://example.com/\ud800", "http://\ud800.com/",
    "http://example.com:0/", "http://example.com:65536/", "http://example.com:99999/", "http://example.com:443:80/",
    "http://example.com:/", "http://example.com:+80/", "http://example.com:\uff18\uff10/", "http://example.com:80a/",
    "http://example.com/" + "a" * 2048,
]  # fmt: skip
BLOCKED_PORTS = [1, 22, 25, 53, 444, 1023, 2375, 2379, 3306, 5432, 5672, 6379, 6443, 8500, 9092, 9200, 11211, 27017]


@pytest.mark.parametrize("host", BLOCKED_HOSTS)
def test_a_call_inside_is_blocked_and_opens_no_connection(sink, host):
    url = f"http://{host}:{sink.port}/"

    for attempt in (lambda: send("POST", url, resolver=resolving()), lambda: vet_url(url)):
        with pytest.raises(AddressBlocked) as blocked:
            attempt()
        assert (blocked.value.kind, blocked.value.code) == (Kind.INVALID, "blocked_address")
    assert sink.accepts == 0


@pytest.mark.parametrize("host", INVALID_HOSTS)
@pytest.mark.parametrize("allow_loopback", [False, True])
def test_a_host_in_another_spelling_is_refused_and_opens_no_connection(sink, host, allow_loopback):
    url = f"http://{host}:{sink.port}/"

    for attempt in (
        lambda: send("POST", url, allow_loopback=allow_loopback, resolver=resolving()),
        lambda: vet_url(url, allow_loopback=allow_loopback),
    ):
        with pytest.raises(OutboundRefused) as refused:
            attempt()
        assert (refused.value.kind, refused.value.code) == (Kind.INVALID, "url_invalid")
    assert sink.accepts == 0


@pytest.mark.parametrize("url", INVALID_URLS)
def test_a_malformed_url_is_refused(url):
    for attempt in (lambda: send("POST", url, resolver=resolving()), lambda: vet_url(url, allow_loopback=True)):
        with pytest.raises(OutboundRefused) as refused:
            attempt()
        assert refused.value.code == "url_invalid"


@pytest.mark.parametrize("port", BLOCKED_PORTS)
def test_ports_of_other_services_are_blocked(port):
    with pytest.raises(AddressBlocked):
        vet_url(f"http://example.com:{port}/")


@pytest.mark.parametrize(
    ("url", "normalised"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTPS://EXAMPLE.com.:443/Path?Q=1", "https://example.com/Path?Q=1"),
        ("http://example.com:80?q", "http://example.com/?q"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("https://example.com:8443/a%20b;c?d[e]={f}|g", "https://example.com:8443/a%20b;c?d[e]={f}|g"),
        ("http://example.com:1024/", "http://example.com:1024/"),
        ("http://example.com:065/@", None),
        ("http://example.com:08080/@", "http://example.com:8080/@"),
        ("http://172.32.0.1/", "http://172.32.0.1/"),
        ("http://8.8.8.8.:8080/", "http://8.8.8.8:8080/"),
        ("https://[2606:4700:0:0:0:0:0:1111]/", "https://[2606:4700::1111]/"),
        ("https://[2606:4700::1111]:8443/", "https://[2606:4700::1111]:8443/"),
        ("https://[::ffff:8.8.8.8]/", "https://[::ffff:808:808]/"),
        ("https://BÜCHER.example.com/", "https://xn--bcher-kva.example.com/"),
        ("https://xn--bcher-kva.example.com/", "https://xn--bcher-kva.example.com/"),
        ("https://\u0430\u0440\u0440\u04cf\u0435.com/", "https://xn--80ak6aa92e.com/"),
        ("https://notpay.test/", "https://notpay.test/"),
        ("https://127.0.0.1.example.com/", "https://127.0.0.1.example.com/"),
        ("https://example.com/" + "a" * 2028, "https://example.com/" + "a" * 2028),
    ],
)
def test_a_url_is_stored_in_one_spelling(url, normalised):
    if normalised is None:
        with pytest.raises(AddressBlocked):
            vet_url(url)
        return

    assert vet_url(url) == normalised
    assert vet_url(normalised) == normalised


@given(st.text(alphabet="http://127.0.0.1:80@\\#?[]%.l ocalhs0x\t\n\u3002①", max_size=40))
def test_whatever_is_let_through_comes_out_as_plain_ascii_and_stays_so(tail):
    try:
        url = vet_url("http://" + tail)
    except OutboundRefused:
        return
    assert re.fullmatch(r"http://[a-z0-9.:\[\]-]+/[!-~]*", url)
    assert vet_url(url) == url


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        [PUBLIC, "127.0.0.1"],
        ["10.0.0.1", PUBLIC],
        [PUBLIC, "::1"],
        [PUBLIC, "fe80::1%2"],
        [PUBLIC, "::ffff:10.0.0.1"],
    ],
)
def test_a_name_with_any_address_inside_is_blocked_and_the_good_ones_are_not_tried(sink, addresses):
    url = f"http://{NAME}:{sink.port}/"

    with pytest.raises(AddressBlocked) as blocked:
        send("POST", url, resolver=resolving(addresses))
    with pytest.raises(AddressBlocked):
        vet_url(url, resolver=resolving(addresses))

    assert not any(address in str(blocked.value) for address in addresses)
    assert sink.accepts == 0


def test_a_name_that_moves_inside_after_registration_is_blocked_at_send(sink):
    resolver = resolving([PUBLIC], ["127.0.0.1"])
    url = vet_url(f"http://{NAME}:{sink.port}/", resolver=resolver)

    with pytest.raises(AddressBlocked):
        send("POST", url, resolver=resolver)

    assert sink.accepts == 0


def test_a_name_is_resolved_once_and_the_vetted_address_is_the_one_called(sink):
    answer = send("GET", f"http://{NAME}:{sink.port}/", resolver=resolving(["127.0.0.1"]), allow_loopback=True)

    assert (answer.status, answer.body, answer.address) == (200, b"ok", "127.0.0.1")
    assert sink.accepts == 1


@pytest.mark.parametrize("address", ["10.0.0.1", "0.0.0.0", "169.254.169.254", "::ffff:127.0.0.1", "fe80::1"])
def test_letting_loopback_out_lets_nothing_else_out(sink, address):
    with pytest.raises(AddressBlocked):
        send("POST", f"http://{NAME}:{sink.port}/", resolver=resolving(["127.0.0.1", address]), allow_loopback=True)

    assert sink.accepts == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_loopback_is_called_where_the_setting_allows_it(sinks, settings, host):
    sink = sinks()
    if host == "[::1]" and len(sink._listeners) == 1:
        pytest.skip("this machine has no IPv6")
    settings.OUTBOUND_ALLOW_LOOPBACK = True

    assert send("POST", vet_url(f"http://{host}:{sink.port}/")).status == 200

    assert sink.accepts == 1
    with pytest.raises(AddressBlocked):
        send("POST", f"http://{host}:{sink.port}/", allow_loopback=False)
    assert sink.accepts == 1


def test_an_address_that_refuses_gives_way_to_the_next(sink):
    answer = send(
        "POST", f"http://{NAME}:{sink.port}/", resolver=resolving(["127.0.0.9", "127.0.0.1"]), allow_loopback=True
    )

    assert (answer.status, answer.address) == (200, "127.0.0.1")


# Names


def reason_of(resolver: Callable[[str, int], Sequence[str]], **options: Any) -> str:
    with pytest.raises(OutboundFailed) as failed:
        send("POST", f"http://{NAME}/", resolver=resolver, **options)
    return failed.value.reason


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, ""), socket.gaierror(socket.EAI_AGAIN, "")])
def test_a_name_that_does_not_resolve_fails_as_dns(error):
    def resolver(host: str, port: int) -> Sequence[str]:
        raise error

    assert reason_of(resolver) == "dns"
    assert reason_of(lambda host, port: []) == "dns"


def test_a_resolver_that_hangs_costs_the_time_given_and_never_more_threads_than_allowed():
    may_end = threading.Event()

    def resolver(host: str, port: int) -> Sequence[str]:
        assert may_end.wait(30)
        return []

    before = threading.active_count()
    try:
        for _ in range(LOOKUPS_MAX):
            assert reason_of(resolver, total_timeout_s=0.01) == "dns"
        began = time.monotonic()
        assert reason_of(resolver, total_timeout_s=0.2) == "dns"
        assert 0.2 <= time.monotonic() - began < 2.0
        assert threading.active_count() <= before + LOOKUPS_MAX
    finally:
        may_end.set()
    assert reason_of(lambda host, port: [], total_timeout_s=5.0) == "dns"


def test_the_systems_resolver_knows_localhost_and_does_not_know_invalid(sink):
    assert send("POST", f"http://localhost:{sink.port}/", allow_loopback=True).status == 200

    with pytest.raises(OutboundFailed) as failed:
        send("POST", "http://nothing.invalid/", total_timeout_s=2.0)
    assert failed.value.reason == "dns"


# What goes out


def test_the_request_is_what_was_asked_for_and_nothing_of_the_environment(sinks, monkeypatch, tmp_path):
    heard: list[bytes] = []

    def script(connection: socket.socket) -> None:
        heard.append(read_request(connection))
        connection.sendall(OK)

    sink, proxy = sinks(script), sinks()
    for variable in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login alice password secret\n")

    send(
        "POST",
        f"http://127.0.0.1:{sink.port}/hook?a=b",
        headers={"Content-Type": "application/json", "webhook-id": "msg_1"},
        body=b'{"amount": "10.00"}',
        allow_loopback=True,
    )

    assert heard == [
        b"POST /hook?a=b HTTP/1.1\r\n"
        b"Content-Length: 19\r\n"
        b"User-Agent: Countinghouse\r\n"
        b"Content-Type: application/json\r\n"
        b"webhook-id: msg_1\r\n"
        b"Host: 127.0.0.1:%d\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Connection: close\r\n\r\n"
        b'{"amount": "10.00"}' % sink.port
    ]
    assert proxy.accepts == 0


TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ({}, TRACEPARENT),
        ({"X-A": "b"}, TRACEPARENT),
        ({"Traceparent": f"00-{'c' * 32}-{'d' * 16}-00"}, f"00-{'c' * 32}-{'d' * 16}-00"),
    ],
)
def test_the_trace_travels_on_unless_the_caller_names_another(sinks, headers, sent):
    heard: list[bytes] = []

    def script(connection: socket.socket) -> None:
        heard.append(read_request(connection))
        connection.sendall(OK)

    with tracing.span("request", kind="server", carrier={"traceparent": TRACEPARENT}):
        call(sinks(script), headers=headers)

    assert re.findall(rb"(?i)^traceparent: (.*)\r$", heard[0], re.MULTILINE) == [sent.encode()]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1"},
        {"content-length": "5"},
        {"Transfer-Encoding": "chunked"},
        {"Accept-Encoding": "gzip"},
        {"Connection": "upgrade"},
        {"X-A": "b\r\nX-C: d"},
        {"X-A\r\nX-C": "d"},
        {"X-A": "\u20ac"},
    ],
)
def test_headers_that_change_the_request_itself_are_refused(sink, headers):
    with pytest.raises(ValueError, match=r".+"):
        call(sink, headers=headers)


def test_every_send_has_a_connection_of_its_own_so_none_meets_a_closed_one(sinks):
    sink = sinks(say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"))

    assert [call(sink).status for _ in range(5)] == [200] * 5

    assert sink.accepts == 5


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["http://127.0.0.1:{port}/", "http://10.0.0.1/", "file:///etc/passwd", "/hook"])
def test_a_redirect_is_an_answer_and_is_not_followed(sinks, status, location):
    elsewhere = sinks()
    head = f"HTTP/1.1 {status} Moved\r\nLocation: {location.format(port=elsewhere.port)}\r\nContent-Length: 0\r\n\r\n"
    sink = sinks(say(head.encode()))

    answer = call(sink)

    assert answer.status == status
    assert answer.headers["location"] == location.format(port=elsewhere.port)
    assert (sink.accepts, elsewhere.accepts) == (1, 0)


# When not to call


def test_a_receiver_that_fails_is_left_alone_and_hears_nothing(sinks):
    sink = sinks(say(b"no HTTP\r\n\r\n"))
    receiver = breaker(failures_min=2)
    for _ in range(2):
        with pytest.raises(OutboundFailed):
            call(sink, breaker=receiver)
    assert (receiver.state, sink.accepts) == (BreakerState.OPEN, 2)

    with pytest.raises(BreakerOpen) as refused:
        call(sink, breaker=receiver)
    with pytest.raises(BreakerOpen):  # the resolver fails the test if it is asked
        send("POST", f"http://{NAME}/", resolver=unasked, breaker=receiver)

    assert (refused.value.kind, refused.value.code) == (Kind.BUSY, "dependency_unavailable")
    assert 1 <= (refused.value.retry_after_s or 0) <= 5
    assert sink.accepts == 2


def unasked(host: str, port: int) -> Sequence[str]:
    pytest.fail(f"{host} was looked up")


def test_what_policy_forbids_is_refused_whatever_the_breaker_says_and_counts_for_nothing(sink):
    receiver = breaker(failures_min=1)
    with pytest.raises(AddressBlocked):
        call(sink, allow_loopback=False, breaker=receiver)
    states = [receiver.state]
    with pytest.raises(OutboundFailed):
        send("POST", f"http://{NAME}/", resolver=lambda host, port: [], breaker=receiver)
    states.append(receiver.state)

    with pytest.raises(AddressBlocked):
        call(sink, allow_loopback=False, breaker=receiver)

    assert [*states, receiver.state] == [BreakerState.CLOSED, BreakerState.OPEN, BreakerState.OPEN]
    assert sink.accepts == 0


def test_any_answer_closes_the_breaker_again_after_its_pause(sinks):
    seconds = [0.0]
    receiver = breaker(failures_min=1, clock=lambda: seconds[0])
    with pytest.raises(OutboundFailed):
        send("POST", f"http://{NAME}/", resolver=lambda host, port: [], breaker=receiver)
    seconds[0] = 5.0

    answer = call(sinks(say(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")), breaker=receiver)

    assert (answer.status, receiver.state) == (500, BreakerState.CLOSED)
