"""Who guesses keys is slowed down, and nobody else: a key that is right is never refused for another's guesses.

Wrong keys and tokens are counted by address, and by the id of the key that they name. From an address with too many,
only what this process has let in before is looked at, and tokens whose signature is right; the rest is refused unseen.
A key's id is no secret: who guesses at one from everywhere is refused, but its owner is let in.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from django_ratelimit.core import get_usage

from ledger.clients.errors import GuessingLimited

BY_ADDRESS, BY_KEY = "100/m", "300/m"
_PREFIX_V6 = 64  # what one household or server has to itself


def refuse_guesser(address: str) -> None:
    """Refuse to look at what comes from an address that has guessed too often; while Redis is away, nobody is refused.

    Raises:
        GuessingLimited
    """
    _refuse_over("address", BY_ADDRESS, _neighbourhood(address), is_counted=False)


def count_guess(address: str, key_id: str | None) -> None:
    """Count a wrong key or token.

    Raises:
        GuessingLimited: there were too many.
    """
    _refuse_over("address", BY_ADDRESS, _neighbourhood(address), is_counted=True)
    if key_id is not None:
        _refuse_over("key", BY_KEY, key_id, is_counted=True)


def _refuse_over(group: str, rate: str, value: str, *, is_counted: bool) -> None:
    usage = get_usage(None, group=f"guesses.{group}", key=lambda *_: value, rate=rate, increment=is_counted)
    if usage is not None and usage["count"] >= usage["limit"] + is_counted:
        raise GuessingLimited(retry_after_s=max(1, usage["time_left"]))


def _neighbourhood(address: str) -> str:
    """Return an IPv4 address, or the /64 of an IPv6 address: who has one of its addresses has them all."""
    is_v4 = ip_address(address).version == 4  # noqa: PLR2004
    return address if is_v4 else str(ip_network(f"{address}/{_PREFIX_V6}", strict=False))
