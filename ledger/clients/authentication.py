"""API keys as Bearer tokens: `Authorization: Bearer ch_<id>_<secret>`."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from dataclasses import dataclass
from hmac import compare_digest

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from config.api.principal import Principal
from config.runtime.clock import now
from config.runtime.logging import annotate
from ledger.clients.errors import KeyInvalid
from ledger.clients.models import ApiKey
from ledger.clients.services import hash_of

_FORM = re.compile(r"ch_([0-9A-HJKMNP-TV-Z]{8})_([0-9A-HJKMNP-TV-Z]{32})", re.ASCII)
_REMEMBERED_S = 1.0
_RENEWED_AFTER_S = 0.7
_REMEMBERED_MAX = 10_000


@dataclass(slots=True)
class _Remembered:
    """What a key was, until when that holds, and when somebody is to look again before everybody has to."""

    principal: Principal
    until: float
    renewed_at: float


_lock = threading.Lock()
_remembered: dict[bytes, _Remembered] = {}


class ApiKeyAuthentication(BaseAuthentication):
    """Accepts a key that is known, not revoked and not expired; remembers it for a second."""

    def authenticate(self, request: Request) -> tuple[Principal, Principal] | None:
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer":
            raise KeyInvalid("Only Bearer tokens are known here.")
        principal = _principal(token.strip())
        annotate(client=principal.client_name, key=principal.key_id)
        return principal, principal


def forget_keys() -> None:
    """Forget what is remembered of keys in this process."""
    with _lock:
        _remembered.clear()


def _principal(token: str) -> Principal:
    # The memory is keyed by a hash, so that no secret stays in it.
    digest = hashlib.sha256(token.encode()).digest()
    asked_at = time.monotonic()
    remembered = _remembered.get(digest)
    if remembered is not None and asked_at < remembered.until and not _is_to_renew(remembered, asked_at):
        return remembered.principal
    principal = _look_up(token)
    with _lock:
        if len(_remembered) >= _REMEMBERED_MAX:
            _remembered.clear()
        _remembered[digest] = _Remembered(principal, asked_at + _REMEMBERED_S, asked_at + _RENEWED_AFTER_S)
    return principal


def _is_to_renew(remembered: _Remembered, asked_at: float) -> bool:
    """Tell one thread alone that it is the one to look again."""
    if asked_at < remembered.renewed_at:
        return False
    with _lock:
        is_first = asked_at >= remembered.renewed_at
        remembered.renewed_at = remembered.until
        return is_first


def _look_up(token: str) -> Principal:
    match = _FORM.fullmatch(token)
    key = ApiKey.objects.select_related("client").filter(pk=match[1]).first() if match else None
    # A key that is not there is compared as well: the time of the answer does not tell which ids exist.
    expected = bytes(key.secret_hash) if key else bytes(32)
    if not compare_digest(hash_of(match[2] if match else token), expected) or key is None:
        raise KeyInvalid
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now()):
        raise KeyInvalid
    return Principal(
        client_id=key.client_id,
        client_public_id=key.client.public_id,
        client_name=key.client.name,
        tier=key.client.tier,
        key_id=key.key_id,
        scopes=frozenset(key.scopes),
    )
