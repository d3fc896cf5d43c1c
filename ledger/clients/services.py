"""Write use cases of clients, keys and the audit trail."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Model, Q
from django.db.models.functions import Now
from psycopg import errors as pg

from config.runtime.ids import CROCKFORD
from ledger.clients.errors import (
    ClientNameMalformed,
    ClientNameTaken,
    KeyEnded,
    LabelMalformed,
    NetworkMalformed,
    ScopeReserved,
    ScopeUnknown,
    TierNeededByKeys,
    TooManyKeys,
)
from ledger.clients.models import CLIENT_NAME_LENGTH_MAX, KEY_LABEL_LENGTH_MAX, ApiKey, AuditEntry, Client, Tier
from ledger.clients.scopes import RESERVED_PREFIX, SCOPES

KEYS_MAX = 100  # live ones of a client
NETWORKS_MAX = 20
OVERLAP = timedelta(hours=24)
OVERLAP_MAX = timedelta(days=90)
NAME_CONSTRAINT = "clients_client_name_key"  # PostgreSQL's name for the unique column
KEY_ID_LENGTH = 8
SECRET_LENGTH = 32  # characters of 5 bits: 160 random bits need no slow hash


def create_client(*, name: str, tier: str = Tier.STANDARD, actor: str, request_id: str = "") -> Client:
    """Make a tenant.

    Raises:
        ClientNameMalformed: the name is empty or too long.
        ClientNameTaken: there is one of this name.
    """
    if not 1 <= len(name) <= CLIENT_NAME_LENGTH_MAX:
        raise ClientNameMalformed
    try:
        with transaction.atomic():
            client = Client.objects.create(name=name, tier=Tier(tier))
            record_audit(
                client_id=client.pk, actor=actor, action="client.created", subject=client, request_id=request_id
            )
    except IntegrityError as error:
        if not _is_name_taken(error):
            raise
        raise ClientNameTaken(name=name) from error
    return client


def find_or_create_client(*, name: str, tier: str = Tier.STANDARD, actor: str) -> Client:
    """Return the tenant of this name; if there is none, make it with this tier.

    Raises:
        ClientNameMalformed: the name is empty or too long.
    """
    found = Client.objects.filter(name=name).first()
    if found is not None:
        return found
    try:
        return create_client(name=name, tier=tier, actor=actor)
    except ClientNameTaken:
        return Client.objects.get(name=name)  # another made it meanwhile


def change_tier(*, client_id: int, tier: str, actor: str, reason: str, request_id: str = "") -> None:
    """Give a client another tier; processes know within a second. The tier that it has already changes nothing.

    Raises:
        TierNeededByKeys: a key that is not revoked holds a scope `operations:…`, and the new tier is not internal.
    """
    with transaction.atomic():
        # The lock keeps a key with a reserved scope from being made meanwhile.
        client = Client.objects.select_for_update().get(pk=client_id)
        if client.tier == tier:
            return
        if tier != Tier.INTERNAL and any(
            _is_reserved(scope) for key in client.keys.filter(revoked_at=None) for scope in key.scopes
        ):
            raise TierNeededByKeys
        detail = {"from": client.tier, "to": Tier(tier).value}
        Client.objects.filter(pk=client_id).update(tier=Tier(tier))
        record_audit(
            client_id=client_id,
            actor=actor,
            action="client.tier_changed",
            subject=client,
            reason=reason,
            request_id=request_id,
            detail=detail,
        )


def check_scopes(*, tier: str, scopes: Iterable[str]) -> None:
    """Pass scopes that a client of this tier may give to a key.

    Raises:
        ScopeUnknown: a scope that does not exist.
        ScopeReserved: a scope `operations:…` for a client that is not internal.
    """
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown:
        raise ScopeUnknown(f"There is no scope {', '.join(unknown)}. There are: {', '.join(SCOPES)}.")
    if tier != Tier.INTERNAL and any(_is_reserved(scope) for scope in wanted):
        raise ScopeReserved


def usable_scopes(*, tier: str, scopes: Iterable[str]) -> frozenset[str]:
    """Return what a key of a client of this tier may do, of all that stands in the key."""
    return frozenset(scope for scope in scopes if tier == Tier.INTERNAL or not _is_reserved(scope))


def check_networks(texts: Iterable[str]) -> list[str]:
    """Return address ranges in their canonical form, each once.

    Raises:
        NetworkMalformed: one is no range, or has bits beside it, or there are too many.
    """
    try:
        networks = {str(ip_network(text)) for text in texts}
    except ValueError as error:
        raise NetworkMalformed from error
    if len(networks) > NETWORKS_MAX:
        raise NetworkMalformed
    return sorted(networks)


def create_key(
    *,
    client: Client,
    scopes: Iterable[str],
    label: str = "",
    networks: Iterable[str] = (),
    expires_at: datetime | None = None,
    actor: str,
    request_id: str = "",
) -> tuple[ApiKey, str]:
    """Make a key and return it with its text `ch_<id>_<secret>`, which is kept nowhere.

    Raises:
        LabelMalformed: the label is too long.
        ScopeUnknown: a scope that does not exist.
        ScopeReserved: a scope `operations:…` for a client that is not internal.
        NetworkMalformed: an address range that is none.
        TooManyKeys: the client has KEYS_MAX live keys.
    """
    with transaction.atomic():
        client = Client.objects.select_for_update().get(pk=client.pk)
        key, text = _made(client, scopes=scopes, label=label, networks=networks, expires_at=expires_at)
        detail = {"scopes": key.scopes} | _limits(key)
        record_audit(
            client_id=client.pk, actor=actor, action="key.created", subject=key, request_id=request_id, detail=detail
        )
    return key, text


def rotate_key(
    *,
    key: ApiKey,
    overlap: timedelta = OVERLAP,
    expires_at: datetime | None = None,
    actor: str,
    reason: str = "",
    request_id: str = "",
    now: datetime,
) -> tuple[ApiKey, str]:
    """Make a key that may do the same, and have this one expire after `overlap`; both are taken until then.

    The new key expires at `expires_at`; without it when this one would have before it was rotated for the first time.
    A key whose successor got lost is rotated again: it expires no later for that.

    Raises:
        KeyEnded: it has expired or was revoked.
        ScopeReserved: the client is not internal any more.
        TooManyKeys: the client has KEYS_MAX live keys.
    """
    with transaction.atomic():
        client = Client.objects.select_for_update().get(pk=key.client_id)
        key = ApiKey.objects.select_for_update().get(pk=key.pk)
        if not key.is_live(now):
            raise KeyEnded
        like = key.successors.order_by("created_at").first() or key
        made, text = _made(
            client,
            scopes=key.scopes,
            label=key.label,
            networks=key.networks,
            expires_at=expires_at or like.expires_at,
            replaces=key,
        )
        ends_at = min(now + overlap, key.expires_at or now + overlap)
        ApiKey.objects.filter(pk=key.pk).update(expires_at=ends_at)
        by: dict[str, Any] = {"client_id": client.pk, "actor": actor, "reason": reason, "request_id": request_id}
        detail = {"scopes": made.scopes, "replaces": key.pk} | _limits(made)
        record_audit(action="key.created", subject=made, detail=detail, **by)
        detail = {"replaced_by": made.pk, "expires_at": ends_at.isoformat()}
        record_audit(action="key.rotated", subject=key, detail=detail, **by)
    return made, text


def _made(
    client: Client,
    *,
    scopes: Iterable[str],
    label: str,
    networks: Iterable[str],
    expires_at: datetime | None,
    replaces: ApiKey | None = None,
) -> tuple[ApiKey, str]:
    """Store a key and return it with its text. Call behind the lock of its client."""
    wanted = sorted(set(scopes))
    check_scopes(tier=client.tier, scopes=wanted)
    if len(label) > KEY_LABEL_LENGTH_MAX:
        raise LabelMalformed
    live = client.keys.filter(Q(expires_at=None) | Q(expires_at__gt=Now()), revoked_at=None)
    if live.count() >= KEYS_MAX:
        raise TooManyKeys
    key_id, secret = _random_text(KEY_ID_LENGTH), _random_text(SECRET_LENGTH)
    key = ApiKey.objects.create(
        key_id=key_id,
        client=client,
        label=label,
        secret_hash=hash_of(secret),
        scopes=wanted,
        networks=check_networks(networks),
        expires_at=expires_at,
        replaces=replaces,
    )
    return key, f"ch_{key_id}_{secret}"


def _limits(key: ApiKey) -> dict[str, Any]:
    """Return what of a key is narrower than usual, for the audit trail."""
    limits = {"networks": key.networks, "expires_at": key.expires_at and key.expires_at.isoformat()}
    return {name: value for name, value in limits.items() if value}


def revoke_key(*, key: ApiKey, actor: str, reason: str = "", request_id: str = "", now: datetime) -> bool:
    """End a key; within a second no process accepts it. False for a key that is revoked already and stays as it is."""
    with transaction.atomic():
        if not ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now):
            return False
        record_audit(
            client_id=key.client_id,
            actor=actor,
            action="key.revoked",
            subject=key,
            reason=reason,
            request_id=request_id,
        )
    return True


def note_uses(used: Mapping[str, datetime]) -> None:
    """Keep when keys were used, by their ids; never an earlier moment after a later one."""
    for key_id, at in used.items():
        earlier = Q(last_used_at=None) | Q(last_used_at__lt=at)
        ApiKey.objects.filter(earlier, pk=key_id).update(last_used_at=at)


def record_audit(
    *,
    client_id: int | None,
    actor: str,
    action: str,
    subject: Model,
    reason: str = "",
    request_id: str = "",
    detail: dict[str, Any] | None = None,
) -> AuditEntry:
    """Write who did what to which object and why. Call inside the database transaction of the deed."""
    return AuditEntry.objects.create(
        client_id=client_id,
        actor=actor,
        action=action,
        object_type=subject._meta.label_lower,  # noqa: SLF001  (Django's documented name)
        object_id=str(subject.pk),
        reason=reason,
        request_id=request_id,
        detail=detail or {},
    )


def hash_of(secret: str) -> bytes:
    """Return what is kept of a key's secret."""
    return hashlib.sha256(secret.encode()).digest()


def _is_name_taken(error: IntegrityError) -> bool:
    cause = error.__cause__
    return isinstance(cause, pg.UniqueViolation) and cause.diag.constraint_name == NAME_CONSTRAINT


def _is_reserved(scope: str) -> bool:
    return scope.startswith(RESERVED_PREFIX)


def _random_text(length: int) -> str:
    return "".join(secrets.choice(CROCKFORD) for _ in range(length))
