"""Cursors into an endless row of numbered things: nobody can forge them or carry them to another list or client."""

from __future__ import annotations

import hashlib
import re

from django.core.signing import BadSignature, Signer

from config.api.pages import CURSOR_BYTES_MAX, CursorMalformed, CursorMismatch

_PAYLOAD = re.compile(r"(?P<position>[0-9]{1,19})\.(?P<list>[0-9a-f]{16})", re.ASCII)
_signer = Signer(sep="~", salt="config.api.positions")


def write_position(position: int, *, of: str) -> str:
    """Return the cursor to go on with after a position; `of` names the list and who reads it."""
    return _signer.sign(f"{position}.{_digest(of)}")


def read_position(cursor: str, *, of: str) -> int:
    """Return the position that a cursor stands at.

    Raises:
        CursorMalformed, CursorMismatch
    """
    try:
        payload = _PAYLOAD.fullmatch(_signer.unsign(cursor)) if len(cursor) <= CURSOR_BYTES_MAX else None
    except BadSignature as error:
        raise CursorMalformed from error
    if payload is None:
        raise CursorMalformed
    if payload["list"] != _digest(of):
        raise CursorMismatch
    return int(payload["position"])


def _digest(of: str) -> str:
    return hashlib.sha256(of.encode()).hexdigest()[:16]
