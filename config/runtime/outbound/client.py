"""One HTTP request to an address that was vetted for it.

Resolve once, vet every address, connect to one of them, keep SNI, certificate check and Host on the name. No
redirects, no proxies, no environment, no decompression, and one deadline over everything. Each request has a connection
of its own: an idle one would be the receiver's to close just as it is used again, when no retry is safe.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import closing

from django.conf import settings

from config.runtime.breaker import Breaker
from config.runtime.outbound.addresses import Address, vet_addresses
from config.runtime.outbound.answer import Answer, Timings
from config.runtime.outbound.dial import connect, secure, system_trust
from config.runtime.outbound.dns import Resolver, addresses_of, system_resolver
from config.runtime.outbound.exchange import exchange, read_body
from config.runtime.outbound.targets import Target, target_of
from config.runtime.outbound.wire import Wire
from config.runtime.tracing import outgoing_headers

BODY_LIMIT = 16 * 1024
DNS_TIMEOUT_S = 5.0
ADDRESSES_TRIED_MAX = 4

_RESERVED_HEADERS = {
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


def vet_url(
    url: str, *, allow_loopback: bool | None = None, resolver: Resolver | None = None, timeout_s: float = DNS_TIMEOUT_S
) -> str:
    """Return `url` normalised if calls may go there; given a resolver, all that its name resolves to is vetted too.

    This is for the moment of registration. `send` vets again, and its word counts: names move.

    Raises:
        OutboundRefused: the URL is malformed, or (AddressBlocked) leads where calls may not go.
        OutboundFailed: the name does not resolve within `timeout_s`.
    """
    local = settings.OUTBOUND_ALLOW_LOOPBACK if allow_loopback is None else allow_loopback
    target = target_of(url, allow_loopback=local)
    if resolver is not None:
        _addresses_of(target, resolver=resolver, deadline=time.monotonic() + timeout_s, allow_loopback=local)
    return target.url


def send(
    method: str,
    url: str,
    *,
    breaker: Breaker,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    total_timeout_s: float = 10.0,
    connect_timeout_s: float = 3.0,
    body_limit: int = BODY_LIMIT,
    allow_loopback: bool | None = None,
    resolver: Resolver = system_resolver,
    trust: ssl.SSLContext | None = None,
) -> Answer:
    """Send one request and return the answer, whatever its status; a redirect is an answer like any other.

    `total_timeout_s` bounds everything from the lookup to the last byte read; `connect_timeout_s`, within it, TCP and
    TLS. At most `body_limit` bytes of the body are kept, and little more is read. `allow_loopback` is
    settings.OUTBOUND_ALLOW_LOOPBACK unless given, `trust` the system's certificates. The current trace is handed on,
    unless `headers` name a `traceparent` of their own.

    `breaker` is the caller's, one for each receiver that it tells apart, made with `failures=(OutboundFailed,)`. What
    the URL itself forbids is refused whether it is open or not.

    Raises:
        OutboundRefused: policy forbids it (AddressBlocked: for where it leads); no connection was opened.
        BreakerOpen: the receiver failed too often of late; nothing was looked up or connected.
        OutboundFailed: with its `reason`; past `connect` and `tls`, the receiver may have acted on the request.
        ValueError: a header that is not the caller's to set, or that HTTP cannot carry.
    """
    began = time.monotonic()
    deadline = began + total_timeout_s
    given = dict(headers or {})
    names = {name.lower() for name in given}
    if reserved := _RESERVED_HEADERS & names:
        raise ValueError(f"These headers are the client's to set: {', '.join(sorted(reserved))}")
    local = settings.OUTBOUND_ALLOW_LOOPBACK if allow_loopback is None else allow_loopback
    target = target_of(url, allow_loopback=local)
    traced = {name: value for name, value in outgoing_headers().items() if name not in names}
    with breaker.guard():
        addresses = _addresses_of(
            target, resolver=resolver, deadline=min(deadline, began + DNS_TIMEOUT_S), allow_loopback=local
        )
        resolved = time.monotonic()
        connect_deadline = min(deadline, resolved + connect_timeout_s)
        sock, address = connect(addresses[:ADDRESSES_TRIED_MAX], target.port, deadline=connect_deadline)
        connected = time.monotonic()
        if target.scheme == "https":
            sock = secure(sock, target.host, trust=trust or system_trust(), deadline=connect_deadline)
        secured = time.monotonic()
        with closing(sock):
            wire = Wire(sock, deadline)
            response = exchange(wire, target, method=method, headers=traced | given, body=body)
            answered = time.monotonic()
            content, truncated = read_body(wire, response, limit=body_limit)
        ended = time.monotonic()
    return Answer(
        status=response.status,
        headers={name.lower(): response.headers[name] for name in response.headers},
        body=content,
        truncated=truncated,
        address=str(address),
        timings=Timings(
            dns_s=resolved - began,
            connect_s=connected - resolved,
            tls_s=secured - connected,
            answer_s=answered - secured,
            body_s=ended - answered,
        ),
    )


def _addresses_of(target: Target, *, resolver: Resolver, deadline: float, allow_loopback: bool) -> Sequence[Address]:
    if target.address is not None:
        return [target.address]  # vetted with its URL
    addresses = addresses_of(target.host, target.port, resolver=resolver, deadline=deadline)
    vet_addresses(addresses, allow_loopback=allow_loopback)
    return addresses
