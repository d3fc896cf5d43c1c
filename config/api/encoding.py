"""JSON out: one encoder for answers, problems and documents."""

from __future__ import annotations

from typing import Any

import msgspec
from django.utils.functional import Promise


def encode(value: Any) -> bytes:
    """Return `value` as JSON: structs as objects, Decimal and UUID as strings.

    A time comes as text, made by `config.runtime.clock.rfc3339`: of a datetime msgspec drops a zero fraction, and a
    client that compares or sorts times as text needs every digit.
    """
    return _ENCODER.encode(value)


def _foreign(value: Any) -> Any:
    if isinstance(value, Promise):  # Django's lazy texts
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


_ENCODER = msgspec.json.Encoder(enc_hook=_foreign)
