"""Idempotency keys of POSTs that make something else than a transaction. Call with the key locked (ledger.locks)."""

from __future__ import annotations

from ledger.clients.models import IdempotencyKey
from ledger.errors import IdempotencyKeyReused
from ledger.models import Transaction


def find_earlier(*, client_id: int, key: str, operation: str, request_hash: bytes) -> str | None:
    """Return the id of what an equal request with this key made, or None when the key is free.

    Raises:
        IdempotencyKeyReused: the key belongs to another request or operation.
    """
    row = IdempotencyKey.objects.filter(client_id=client_id, key=key).first()
    if row is None:
        if Transaction.objects.filter(client_id=client_id, idempotency_key=key).exists():
            raise IdempotencyKeyReused
        return None
    if row.operation != operation or bytes(row.request_hash) != request_hash:
        raise IdempotencyKeyReused
    return row.object_id


def keep_key(*, client_id: int, key: str, operation: str, request_hash: bytes, object_id: str) -> None:
    """Take the key, in the commit of what it made."""
    IdempotencyKey.objects.create(
        client_id=client_id, key=key, operation=operation, request_hash=request_hash, object_id=object_id
    )
