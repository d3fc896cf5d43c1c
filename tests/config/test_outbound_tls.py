"""The guarded HTTP client and TLS: the name is what is checked, the vetted address is what is called."""

import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from config.runtime.outbound import Answer, OutboundFailed
from tests.config.sink import OK, Sink, endless, ignoring, read_request, resolving, send, serving

NAME = "hooks.example.com"


@pytest.fixture
def sinks() -> Iterator[Callable[..., Sink]]:
    with serving() as make:
        yield make


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> "Authority":
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is not installed")
    return Authority(tmp_path_factory.mktemp("certificates"))


class Authority:
    """Makes certificates, good and bad ones."""

    KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._openssl("req", "-x509", *self.KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def server(self, names: str, *, days: int = 2, self_signed: bool = False) -> ssl.SSLContext:
        if self_signed:
            signed_by = ("-key", "leaf.key")
            self._openssl("req", *self.KEY, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=leaf")
            self._openssl(
                *("req", "-x509", *signed_by, "-subj", "/CN=leaf", "-days", "2", "-out", "leaf.pem"),
                *("-addext", f"subjectAltName={names}"),
            )
        else:
            (self.folder / "names").write_text(f"subjectAltName={names}")
            self._openssl("req", *self.KEY, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=leaf")
            self._openssl(
                *("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
                *("-days", str(days), "-extfile", "names", "-out", "leaf.pem"),
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "leaf.pem", self.folder / "leaf.key")
        return context

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "ca.pem"))


def call_secured(sink: Sink, authority: Authority, name: str = NAME, **options: Any) -> Answer:
    defaults: dict[str, Any] = {
        "allow_loopback": True,
        "resolver": resolving(["127.0.0.1"]),
        "trust": authority.trust(),
    }
    return send("POST", f"https://{name}:{sink.port}/", total_timeout_s=5.0, **(defaults | options))


def test_name_and_certificate_are_checked_though_the_address_is_called(sinks, authority):
    asked: list[str | None] = []
    tls = authority.server(f"DNS:{NAME}")
    tls.sni_callback = lambda connection, name, context: asked.append(name)

    answer = call_secured(sinks(tls=tls), authority)

    assert (answer.status, answer.address, asked) == (200, "127.0.0.1", [NAME])
    assert answer.timings.tls_s > 0


def test_an_address_as_host_needs_a_certificate_for_that_address(sinks, authority):
    assert call_secured(sinks(tls=authority.server("IP:127.0.0.1")), authority, "127.0.0.1").status == 200

    with pytest.raises(OutboundFailed) as failed:
        call_secured(sinks(tls=authority.server(f"DNS:{NAME}")), authority, "127.0.0.1")
    assert failed.value.reason == "tls"


def bad_tls(authority: Authority, kind: str) -> ssl.SSLContext:
    if kind == "wrong name":
        return authority.server("DNS:other.example.com")
    if kind == "only the address":
        return authority.server("IP:127.0.0.1")
    if kind == "expired":
        return authority.server(f"DNS:{NAME}", days=-1)
    if kind == "self-signed":
        return authority.server(f"DNS:{NAME}", self_signed=True)
    context = authority.server(f"DNS:{NAME}")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.deprecated_call():
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.mark.parametrize("kind", ["wrong name", "only the address", "expired", "self-signed", "TLS 1.1"])
def test_what_cannot_be_trusted_fails_as_tls_and_is_told_nothing(sinks, authority, kind):
    heard: list[bytes] = []
    sink = sinks(lambda connection: heard.append(read_request(connection)), tls=bad_tls(authority, kind))

    with pytest.raises(OutboundFailed) as failed:
        call_secured(sink, authority, body=b"secret")

    assert failed.value.reason == "tls"
    assert b"secret" not in b"".join(heard)


def test_the_systems_trust_is_used_unless_another_is_given(sinks, authority):
    with pytest.raises(OutboundFailed) as failed:
        call_secured(sinks(tls=authority.server(f"DNS:{NAME}")), authority, trust=None)

    assert failed.value.reason == "tls"


def test_a_receiver_that_wants_our_certificate_gets_none(sinks, authority):
    tls = authority.server(f"DNS:{NAME}")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority.folder / "ca.pem")

    with pytest.raises(OutboundFailed) as failed:
        call_secured(sinks(tls=tls), authority)

    assert failed.value.reason in {"tls", "protocol"}  # in TLS 1.3 the refusal races with the request


def test_plain_http_where_tls_is_due_fails_as_tls(sinks, authority):
    with pytest.raises(OutboundFailed) as failed:
        call_secured(sinks(lambda connection: connection.sendall(OK)), authority)

    assert failed.value.reason == "tls"


def test_a_handshake_that_hangs_is_given_the_connect_timeout(sinks, authority):
    began = time.monotonic()

    with pytest.raises(OutboundFailed) as failed:
        call_secured(sinks(ignoring), authority, connect_timeout_s=0.3)

    assert failed.value.reason == "timeout"
    assert 0.3 <= time.monotonic() - began < 2.0


def test_a_body_that_trickles_under_tls_is_cut_off_at_the_deadline(sinks, authority):
    script = endless(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x", pause_s=0.05)
    began = time.monotonic()

    with pytest.raises(OutboundFailed) as failed:
        send(
            "POST",
            f"https://{NAME}:{sinks(script, authority.server(f'DNS:{NAME}')).port}/",
            allow_loopback=True,
            resolver=resolving(["127.0.0.1"]),
            trust=authority.trust(),
            total_timeout_s=0.5,
        )

    assert failed.value.reason == "timeout"
    assert time.monotonic() - began < 2.0
