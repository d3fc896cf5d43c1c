"""Reads of API keys; never of their hashes."""

from __future__ import annotations

from datetime import datetime

from django.db.models import QuerySet

from config.runtime.clock import rfc3339
from config.runtime.errors import NotFound
from ledger.clients.models import ApiKey
from ledger.domain.keys import KEY_ID, KeyShape, KeyStatus


def keys_of(client_id: int) -> QuerySet[ApiKey]:
    """Return a client's keys; `key_id` orders them."""
    return ApiKey.objects.filter(client_id=client_id).defer("secret_hash")


def get_key(client_id: int, key_id: str, *, locked: bool = False) -> ApiKey:
    """Return one of a client's keys; `locked` inside a database transaction, after the client.

    Raises:
        NotFound: the client has no such key.
    """
    if not KEY_ID.fullmatch(key_id):
        raise NotFound
    rows = keys_of(client_id)
    row = (rows.select_for_update() if locked else rows).filter(pk=key_id).first()
    if row is None:
        raise NotFound
    return row


def key_shape(key: ApiKey, *, now: datetime) -> KeyShape:
    """Return a key as its API shows it."""
    return KeyShape(
        id=key.pk,
        label=key.label,
        status=_status(key, now),
        scopes=key.scopes,
        networks=key.networks,
        replaces=key.replaces_id,
        created_at=rfc3339(key.created_at),
        expires_at=_moment(key.expires_at),
        revoked_at=_moment(key.revoked_at),
        last_used_at=_moment(key.last_used_at),
    )


def _status(key: ApiKey, now: datetime) -> KeyStatus:
    if key.is_live(now):
        return KeyStatus.LIVE
    return KeyStatus.EXPIRED if key.revoked_at is None else KeyStatus.REVOKED


def _moment(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)
