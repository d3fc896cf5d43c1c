"""Names to addresses, within a time limit that `getaddrinfo` itself does not know."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from ipaddress import ip_address

from config.runtime.outbound.addresses import Address
from config.runtime.outbound.errors import OutboundFailed
from config.runtime.outbound.wire import left_s

LOOKUPS_MAX = 32

# Host and port to the texts of its addresses; raises OSError when there are none.
Resolver = Callable[[str, int], Sequence[str]]

_slots = threading.BoundedSemaphore(LOOKUPS_MAX)


def system_resolver(host: str, port: int) -> list[str]:
    """Ask the system. The name is made absolute, so that no search list of ours completes it."""
    name = host if host == "localhost" else f"{host}."
    return [str(info[4][0]) for info in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]


def addresses_of(host: str, port: int, *, resolver: Resolver, deadline: float) -> tuple[Address, ...]:
    """Return all addresses of `host`, in the resolver's order, each once; `deadline` is monotonic.

    A lookup cannot be interrupted: it runs in a thread that is left behind when the time is up, `LOOKUPS_MAX` of them
    at most. They are daemons, so that a hanging one does not hold up the end of the process.

    Raises:
        OutboundFailed: reason `dns`.
    """
    try:
        texts = _begin_lookup(resolver, host, port, deadline).result(left_s(deadline))
    except (OSError, UnicodeError) as error:
        raise OutboundFailed("dns") from error
    if not texts:
        raise OutboundFailed("dns")
    return tuple(dict.fromkeys(ip_address(text) for text in texts))


def _begin_lookup(resolver: Resolver, host: str, port: int, deadline: float) -> Future[Sequence[str]]:
    answer: Future[Sequence[str]] = Future()
    if not _slots.acquire(timeout=left_s(deadline)):
        raise TimeoutError
    try:
        threading.Thread(target=_look_up, args=(resolver, host, port, answer), name=f"dns {host}", daemon=True).start()
    except RuntimeError as error:  # no more threads
        _slots.release()
        raise OSError from error
    return answer


def _look_up(resolver: Resolver, host: str, port: int, answer: Future[Sequence[str]]) -> None:
    try:
        answer.set_result(resolver(host, port))
    except Exception as error:  # noqa: BLE001  (raised in the caller's thread)
        answer.set_exception(error)
    finally:
        _slots.release()
