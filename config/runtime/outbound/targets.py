"""From a URL to a target, strictly: two parsers that read one URL differently are a way around every check.

So this parser knows one spelling of everything, refuses the rest, and what it returns is what is sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from django.conf import settings
from django.utils.http import is_same_domain

from config.runtime.outbound.addresses import Address, vet_addresses
from config.runtime.outbound.errors import AddressBlocked, OutboundRefused

URL_LENGTH_MAX = 2048
NAME_LENGTH_MAX = 253

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOW_PORTS = {80, 443, 8080, 8443}
# Databases, queues, caches and control planes that listen above 1023 and would take an HTTP request for a command.
_SERVICE_PORTS = {
    1433, 1521, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 4369, 5432, 5433, 5671, 5672, 5900, 5984, 6379, 6380,
    6432, 6443, 7000, 7001, 8086, 8200, 8300, 8301, 8500, 8529, 9042, 9092, 9093, 9160, 9200, 9300, 10250, 10255,
    11211, 15672, 16379, 25672, 26257, 26379, 27017, 27018, 27019, 28015, 33060, 50070, 61613, 61616,
}  # fmt: skip
_INTERNAL_SUFFIXES = (".internal", ".local", ".localhost", ".localdomain", ".home.arpa")
_LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1", "[::1]"}

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\#]")
_URL = re.compile(r"(https?)://([^/?]*)(/[^?]*)?(\?.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]@:%]+))(?::([0-9]{1,5}))?")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")  # what the URL Standard takes for an IPv4 address


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in its parts, normalised. `host` is a lower-case ASCII name or an address without brackets, `path` begins
    with a slash and includes the query; `address` is set where the host is one.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: Address | None

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def target_of(url: str, *, allow_loopback: bool) -> Target:
    """Return the target of `url`, vetted as far as that goes without asking the DNS.

    Raises:
        OutboundRefused: the URL is not one we understand.
        AddressBlocked: it names an address, name or port that calls may not go to.
    """
    if len(url) > URL_LENGTH_MAX:
        raise OutboundRefused(f"The URL is longer than {URL_LENGTH_MAX} characters.")
    if _FORBIDDEN.search(url):
        raise OutboundRefused("The URL holds a space, a control character, a backslash or a fragment.")
    if not (parts := _URL.fullmatch(url)):
        raise OutboundRefused("The URL is not http://host… or https://host….")
    scheme, path = parts[1].lower(), (parts[3] or "/") + (parts[4] or "")
    if not path.isascii():
        raise OutboundRefused("The path holds characters that must be percent-encoded.")
    host, address, port = _split(parts[2])
    target = Target(scheme, host, _DEFAULT_PORTS[scheme] if port is None else port, path, address)
    _vet(target, allow_loopback=allow_loopback)
    return target


def _split(authority: str) -> tuple[str, Address | None, int | None]:
    if "@" in authority:
        raise OutboundRefused("The URL holds a user or a password.")
    if not (parts := _AUTHORITY.fullmatch(authority)):
        raise OutboundRefused("The host or the port of the URL is malformed.")
    port = None if parts[3] is None else int(parts[3])
    try:
        if parts[1]:
            address: Address = IPv6Address(parts[1])
            return str(address), address, port
        name = _name_of(parts[2])
        if not _ENDS_IN_NUMBER.fullmatch(name):
            return name, None, port
        return name, IPv4Address(name), port
    except AddressValueError as error:
        raise OutboundRefused("The address is not written as four decimal numbers, or as IPv6 in brackets.") from error


def _name_of(raw: str) -> str:
    """Return the name in ASCII, lower case and without the trailing dot.

    A name beyond ASCII must come back unchanged from its IDNA form: full-width digits, circled letters, other full
    stops and the sharp s do not, and each is another host for another reader.
    """
    name = raw.lower()
    if len(name) <= NAME_LENGTH_MAX + 1:
        try:
            ascii_name = name.encode("idna").decode("ascii")
            is_plain = name.isascii() or ascii_name.encode("ascii").decode("idna") == name
        except UnicodeError as error:
            raise OutboundRefused("The host is not a valid name.") from error
        ascii_name = ascii_name.lower().removesuffix(".")
        if is_plain and len(ascii_name) <= NAME_LENGTH_MAX and _NAME.fullmatch(ascii_name):
            return ascii_name
    raise OutboundRefused("The host is not a valid name.")


def _vet(target: Target, *, allow_loopback: bool) -> None:
    if not 0 < target.port < 2**16:
        raise OutboundRefused("The port is not one from 1 to 65535.")
    if target.port in _SERVICE_PORTS or (target.port < 1024 and target.port not in _LOW_PORTS):  # noqa: PLR2004  (where the system ports end)
        raise AddressBlocked("Calls may not go to this port.")
    if _is_own(target.host):
        raise AddressBlocked("The URL leads back to this service.")
    if target.address is not None:
        vet_addresses([target.address], allow_loopback=allow_loopback)
    elif not (allow_loopback and target.host == "localhost"):
        _vet_name(target.host)


def _vet_name(name: str) -> None:
    """Names without a dot and of internal zones resolve by search list, hosts file or multicast: not in the DNS."""
    if "." not in name or name.endswith(_INTERNAL_SUFFIXES):
        raise AddressBlocked


def _is_own(host: str) -> bool:
    own = (pattern for pattern in settings.ALLOWED_HOSTS if pattern not in _LOOPBACK_HOSTS | {"*"})
    return any(is_same_domain(host, pattern.strip("[]")) for pattern in own)
