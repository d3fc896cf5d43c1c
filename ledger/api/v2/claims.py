"""What a request's Idempotency-Key claims, where it may be left out."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request

from config.api.idempotency import HEADER, fingerprint, parse_key
from ledger.services.idempotency import Claim


def claim_of(request: Request, operation: str, body: Any) -> Claim | None:
    """Return the claim of the key on this operation with this body, None without a key."""
    key = parse_key(request.headers.get(HEADER), required=False)
    return None if key is None else Claim(key, operation, fingerprint(operation, body))
