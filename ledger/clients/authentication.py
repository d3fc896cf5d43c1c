"""Who asks: `Authorization: Bearer` with a key `ch_<id>_<secret>`, or with a user's token that a key has minted.

Each process remembers for a second what a key is, and no cache stands behind that: a revoked key must end within the
second, so that a shared copy would save one read by primary key a second and process, and would be one more place where
a revocation could be lost.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from config.api.addresses import client_address
from config.api.principal import Principal
from config.runtime.clock import now
from config.runtime.errors import DomainError
from config.runtime.logging import annotate
from ledger.clients.errors import AddressRefused, KeyInvalid, TokenInvalid
from ledger.clients.guessing import count_guess, refuse_guesser
from ledger.clients.models import ApiKey
from ledger.clients.scopes import USER_SCOPES
from ledger.clients.services import hash_of, usable_scopes
from ledger.clients.tokens import UserToken, read
from ledger.clients.uses import note_use

_FORM = re.compile(r"ch_([0-9A-HJKMNP-TV-Z]{8})_([0-9A-HJKMNP-TV-Z]{32})", re.ASCII)
_REMEMBERED_S = 1.0
_RENEWED_AFTER_S = 0.7
_REMEMBERED_MAX = 10_000

Networks = tuple[IPv4Network | IPv6Network, ...]


@dataclass(slots=True)
class _Remembered:
    """What a key or token was, until when that holds, and when somebody is to look again before everybody has to."""

    principal: Principal
    networks: Networks
    until: float
    renewed_at: float


_lock = threading.Lock()
_remembered: dict[bytes, _Remembered] = {}


class BearerAuthentication(BaseAuthentication):
    """Accepts a key or token that is known, not revoked and not expired; remembers it for a second."""

    def authenticate(self, request: Request) -> tuple[Principal, Principal] | None:
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer":
            raise KeyInvalid("Only Bearer tokens are known here.")
        principal = _principal(token.strip(), request)
        annotate(client=principal.client_name, key=principal.key_id)
        if principal.user_id is not None:
            annotate(user=principal.user_id)
        return principal, principal


def forget_keys() -> None:
    """Forget what is remembered of keys and tokens in this process."""
    with _lock:
        _remembered.clear()


def _principal(token: str, request: HttpRequest | Request) -> Principal:
    """Return who shows this key or token with this request.

    Raises:
        KeyInvalid, TokenInvalid, TokenExpired: nobody whom we know.
        AddressRefused: the key is not taken from there.
        GuessingLimited: too much that was wrong came from there, or named this key.
    """
    # The memory is keyed by a hash, so that no secret stays in it.
    digest = hashlib.sha256(token.encode()).digest()
    asked_at = time.monotonic()
    known = _remembered.get(digest)
    if known is None or asked_at >= known.until or _is_to_renew(known, asked_at):
        known = _renewed(token, digest, client_address(request), asked_at)
    if known.networks and not _is_within(client_address(request), known.networks):
        raise AddressRefused
    return known.principal


def _is_to_renew(remembered: _Remembered, asked_at: float) -> bool:
    """Tell one thread alone that it is the one to look again."""
    if asked_at < remembered.renewed_at:
        return False
    with _lock:
        is_first = asked_at >= remembered.renewed_at
        remembered.renewed_at = remembered.until
        return is_first


def _renewed(token: str, digest: bytes, address: str, asked_at: float) -> _Remembered:
    try:
        principal, networks = _look_up(token, address, is_known=digest in _remembered)
    except DomainError:
        with _lock:
            _remembered.pop(digest, None)
        raise
    left_s = _REMEMBERED_S
    if principal.expires_at is not None:
        left_s = min(left_s, (principal.expires_at - now()).total_seconds())
    found = _Remembered(principal, networks, asked_at + left_s, asked_at + _RENEWED_AFTER_S)
    with _lock:
        _remembered.pop(digest, None)  # what was asked for last leaves last
        if len(_remembered) >= _REMEMBERED_MAX:
            del _remembered[next(iter(_remembered))]
        _remembered[digest] = found
    return found


def _look_up(token: str, address: str, *, is_known: bool) -> tuple[Principal, Networks]:
    if token.count(".") == 2:  # noqa: PLR2004  (header, claims, signature)
        return _user(_read(token, address)), ()
    if not is_known:
        refuse_guesser(address)
    return _holder(token, address)


def _read(token: str, address: str) -> UserToken:
    try:
        return read(token)
    except TokenInvalid:
        count_guess(address, None)
        raise


def _holder(token: str, address: str) -> tuple[Principal, Networks]:
    match = _FORM.fullmatch(token)
    key = _stored(match[1]) if match else None
    # A key that is not there is compared as well: the time of the answer does not tell which ids exist.
    expected = bytes(key.secret_hash) if key else bytes(32)
    if not compare_digest(hash_of(match[2] if match else token), expected) or key is None:
        count_guess(address, match[1] if match else None)
        raise KeyInvalid
    if not _is_used(key):
        raise KeyInvalid
    networks = tuple(map(ip_network, key.networks))
    return _principal_of(key, scopes=frozenset(key.scopes), expires_at=key.expires_at), networks


def _user(token: UserToken) -> Principal:
    """Return whom a token stands for; it ends with the key that minted it."""
    key = _stored(token.key_id)
    if key is None or not _is_used(key):
        raise TokenInvalid
    scopes = token.scopes.intersection(key.scopes, USER_SCOPES)
    return _principal_of(key, scopes=scopes, user_id=token.user_id, expires_at=token.expires_at)


def _stored(key_id: str) -> ApiKey | None:
    return ApiKey.objects.select_related("client").filter(pk=key_id).first()


def _is_used(key: ApiKey) -> bool:
    at = now()
    if not key.is_live(at):
        return False
    note_use(key, now=at)
    return True


def _principal_of(
    key: ApiKey, *, scopes: frozenset[str], expires_at: datetime | None, user_id: str | None = None
) -> Principal:
    return Principal(
        client_id=key.client_id,
        client_public_id=key.client.public_id,
        client_name=key.client.name,
        tier=key.client.tier,
        key_id=key.key_id,
        scopes=usable_scopes(tier=key.client.tier, scopes=scopes),
        user_id=user_id,
        expires_at=expires_at,
    )


def _is_within(address: str, networks: Networks) -> bool:
    return any(ip_address(address) in network for network in networks)
