"""Connections to vetted addresses."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from functools import cache
from ipaddress import IPv6Address

from config.runtime.outbound.addresses import Address
from config.runtime.outbound.errors import OutboundFailed
from config.runtime.outbound.wire import failing_as, left_s


@cache
def system_trust() -> ssl.SSLContext:
    """Return the context that trusts what the system trusts; made once, for reading the certificates takes long."""
    return ssl.create_default_context()


def connect(addresses: Sequence[Address], port: int, *, deadline: float) -> tuple[socket.socket, Address]:
    """Connect to the first address that accepts; one that hangs uses up its share of the time, not that of the rest.

    Raises:
        OutboundFailed: what the last address failed for.
    """
    address, *others = addresses
    try:
        with failing_as("connect"):
            return _open(address, port, timeout_s=left_s(deadline) / len(addresses)), address
    except OutboundFailed:
        if not others:
            raise
        return connect(others, port, deadline=deadline)


def secure(plain: socket.socket, host: str, *, trust: ssl.SSLContext, deadline: float) -> ssl.SSLSocket:
    """Return the connection under TLS, its certificate being one for `host`; `plain` is used up in any case.

    Raises:
        OutboundFailed: the reason is `tls` or `timeout`.
    """
    with failing_as("tls"):
        try:
            plain.settimeout(left_s(deadline))
            return trust.wrap_socket(plain, server_hostname=host)
        finally:
            plain.close()


def _open(address: Address, port: int, *, timeout_s: float) -> socket.socket:
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect((str(address), port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock
