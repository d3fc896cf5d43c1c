"""Which addresses calls may go to.

An explicit list, because `ipaddress.is_global` calls many addresses global that lead inside: NAT64, 6to4 and
IPv4-compatible forms of 127.0.0.1, site-local IPv6, and metadata services of clouds.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from config.runtime.outbound.errors import AddressBlocked

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


# IANA's special-purpose registries, multicast, the reserved end, and one address of a cloud.
_BLOCKED_V4 = _networks(
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",  # Azure's wire server, in the midst of public addresses
)
# IPv6 is the other way round: one range is handed out to the world, less what is carved out of it
# (protocol assignments with Teredo, documentation, 6to4, documentation again).
_GLOBAL_V6 = IPv6Network("2000::/3")
_BLOCKED_V6 = _networks("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
_LOOPBACK = _networks("127.0.0.0/8", "::1/128")


def is_public(address: Address) -> bool:
    """Tell whether `address` is one that anybody on the internet may be reached at."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        return address in _GLOBAL_V6 and not any(address in network for network in _BLOCKED_V6)
    return not any(address in network for network in _BLOCKED_V4)


def vet_addresses(addresses: Iterable[Address], *, allow_loopback: bool) -> None:
    """Refuse unless every address may be called: one bad answer among good ones is an attack, not a choice.

    Raises:
        AddressBlocked: names no address; what a name resolves to inside is not the tenant's to know.
    """
    for address in addresses:
        is_local = allow_loopback and any(address in network for network in _LOOPBACK)
        if not is_local and not is_public(address):
            raise AddressBlocked
