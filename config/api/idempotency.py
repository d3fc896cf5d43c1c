"""The Idempotency-Key header, and the fingerprint that tells a repetition from another request."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from config.runtime.errors import DomainError, Kind

HEADER = "Idempotency-Key"
_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")
_QUOTED = re.compile(r'"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"')
_encoder = msgspec.json.Encoder(order="deterministic", decimal_format="number")


class IdempotencyKeyMissing(DomainError):
    """This operation needs the header Idempotency-Key, so that it can be repeated safely."""

    kind, code = Kind.MALFORMED, "idempotency_key_missing"


class IdempotencyKeyMalformed(DomainError):
    """Idempotency-Key holds 1 to 255 visible ASCII characters, optionally as a quoted string (RFC 8941)."""

    kind, code = Kind.MALFORMED, "idempotency_key_malformed"


def parse_key(header: str | None, *, required: bool) -> str | None:
    """Return the key of the header's value; `"abc"` in quotes and `abc` are one key. None when absent and optional.

    Raises:
        IdempotencyKeyMissing, IdempotencyKeyMalformed
    """
    if header is None:
        if required:
            raise IdempotencyKeyMissing
        return None
    key = header.strip(" \t")
    if key.startswith('"'):
        if not _QUOTED.fullmatch(key):
            raise IdempotencyKeyMalformed
        key = re.sub(r"\\(.)", r"\1", key[1:-1])
    if not _VISIBLE.fullmatch(key):
        raise IdempotencyKeyMalformed
    return key


def fingerprint(operation: str, body: Any) -> bytes:
    """Return 32 bytes that are equal for the same operation with the same body, whatever the order of its keys.

    `body` is what `parse_strict` or `decode` gave; `1.0` and `1.00` differ, as do a number and a text.
    """
    return hashlib.sha256(operation.encode() + b"\0" + _encoder.encode(body)).digest()
