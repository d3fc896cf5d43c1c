"""What a key does to keys of its client: it makes, rotates and revokes those alone that may do no more than itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network

from django.db import transaction

from ledger.clients.errors import ExpiryPassed, KeyEnded, KeyExceeds
from ledger.clients.models import ApiKey, Client
from ledger.clients.services import OVERLAP, check_networks, create_key, revoke_key, rotate_key
from ledger.locks import bound_waits
from ledger.queries.keys import get_key
from ledger.services.idempotency import Claim, keep_key, take_key

ISSUE, ROTATE, REVOKE = "keys.issue", "keys.rotate", "keys.revoke"


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """The key that asks, and its request."""

    client_id: int
    key_id: str
    actor: str
    request_id: str
    now: datetime
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A key as it stands; its text is told to the first who asks, and is None where nothing was made.

    `replayed` when an earlier request with the same key did it.
    """

    key: ApiKey
    text: str | None
    replayed: bool


def issue_key(
    *,
    by: By,
    scopes: Iterable[str],
    label: str = "",
    networks: Iterable[str] = (),
    expires_at: datetime | None = None,
) -> Issued:
    """Make a key; where nothing is said of networks and end, it has those of the key that asks.

    Raises:
        KeyExceeds: a scope, a network or a time that the asking key does not have.
        ExpiryPassed: it would never be taken.
        DomainError: what else `create_key` refuses.
    """
    wanted, ranges = frozenset(scopes), check_networks(networks)

    def make(own: ApiKey) -> tuple[ApiKey, str]:
        until = expires_at or own.expires_at
        if until is not None and until <= by.now:
            raise ExpiryPassed
        new = ApiKey(scopes=wanted, networks=ranges or own.networks, expires_at=until)
        if not (_covers(own, new) and _outlives(own, new)):
            raise KeyExceeds
        return create_key(
            client=own.client,
            scopes=wanted,
            label=label,
            networks=new.networks,
            expires_at=until,
            actor=by.actor,
            request_id=by.request_id,
        )

    return _once(by, make)


def rotate_own_key(*, by: By, key_id: str, overlap: timedelta = OVERLAP, reason: str = "") -> Issued:
    """Rotate a key as `rotate_key` does: the new key expires when this one would have.

    Raises:
        NotFound: the client has no such key.
        KeyExceeds: it is another than the asking one, and may do more.
        DomainError: what else `rotate_key` refuses.
    """

    def rotate(own: ApiKey) -> tuple[ApiKey, str]:
        key = get_key(by.client_id, key_id, locked=True)
        if key != own and not (_covers(own, key) and _outlives(own, key)):
            raise KeyExceeds
        return rotate_key(key=key, overlap=overlap, actor=by.actor, reason=reason, request_id=by.request_id, now=by.now)

    return _once(by, rotate)


def revoke_own_key(*, by: By, key_id: str, reason: str = "") -> Issued:
    """Revoke a key; one that is revoked already stays as it is.

    Raises:
        NotFound: the client has no such key.
        KeyExceeds: it may do more than the asking one.
    """

    def revoke(own: ApiKey) -> tuple[ApiKey, None]:
        key = get_key(by.client_id, key_id, locked=True)
        if not _covers(own, key):
            raise KeyExceeds
        revoke_key(key=key, actor=by.actor, reason=reason, request_id=by.request_id, now=by.now)
        return key, None

    return _once(by, revoke)


def _once(by: By, change: Callable[[ApiKey], tuple[ApiKey, str | None]]) -> Issued:
    """Do it in one commit with the key of the request, while the asking key is live and nobody ends it."""
    with transaction.atomic(durable=True):
        bound_waits()
        earlier = None if by.claim is None else take_key(client_id=by.client_id, claim=by.claim)
        if earlier is not None:
            return Issued(get_key(by.client_id, earlier), None, replayed=True)
        Client.objects.select_for_update().get(pk=by.client_id)
        own = get_key(by.client_id, by.key_id, locked=True)
        if not own.is_live(by.now):
            raise KeyEnded
        key, text = change(own)
        if by.claim is not None:
            keep_key(client_id=by.client_id, claim=by.claim, object_id=key.pk)
        return Issued(get_key(by.client_id, key.pk), text, replayed=False)


def _covers(own: ApiKey, other: ApiKey) -> bool:
    """Whether a key may do all that another may, from wherever that one may."""
    return set(other.scopes) <= set(own.scopes) and _reaches(own.networks, other.networks)


def _reaches(own: list[str], other: list[str]) -> bool:
    if not own:
        return True
    ranges = [ip_network(text) for text in own]
    return bool(other) and all(
        any(one.network_address in wide and one.broadcast_address in wide for wide in ranges)
        for one in map(ip_network, other)
    )


def _outlives(own: ApiKey, other: ApiKey) -> bool:
    return own.expires_at is None or (other.expires_at is not None and other.expires_at <= own.expires_at)
