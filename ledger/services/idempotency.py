"""Idempotency keys of POSTs that make something else than a transaction. Call inside a database transaction."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.clients.models import IdempotencyKey
from ledger.errors import IdempotencyKeyReused
from ledger.locks import lock_key
from ledger.models import Transaction


@dataclass(frozen=True, slots=True)
class Claim:
    """The key of a request, what it asks for, and the hash that tells a repetition from another request."""

    key: str
    operation: str
    request_hash: bytes


def take_key(*, client_id: int, claim: Claim) -> str | None:
    """Lock a key, before anything else is locked; return the id of what an equal request made, None if it is free.

    Raises:
        IdempotencyKeyReused: the key belongs to another request or operation.
    """
    lock_key((client_id, claim.key))
    return find_earlier(client_id=client_id, claim=claim)


def find_earlier(*, client_id: int, claim: Claim) -> str | None:
    """Return the id of what an equal request with this key, which is locked, made, or None when the key is free.

    Raises:
        IdempotencyKeyReused: the key belongs to another request or operation.
    """
    row = IdempotencyKey.objects.filter(client_id=client_id, key=claim.key).first()
    if row is None:
        if Transaction.objects.filter(client_id=client_id, idempotency_key=claim.key).exists():
            raise IdempotencyKeyReused
        return None
    if row.operation != claim.operation or bytes(row.request_hash) != claim.request_hash:
        raise IdempotencyKeyReused
    return row.object_id


def keep_key(*, client_id: int, claim: Claim, object_id: str) -> None:
    """Store the key, in the commit of what it made."""
    IdempotencyKey.objects.create(
        client_id=client_id,
        key=claim.key,
        operation=claim.operation,
        request_hash=claim.request_hash,
        object_id=object_id,
    )
