"""Keeps secrets out of log lines: by the names of fields, and by the look of values wherever they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

REDACTED = "[redacted]"
DEPTH_MAX = 8

_NAMES = re.compile(r"authorization|secret|password|token|api_?key|signature|cookie", re.IGNORECASE)
# Our keys, Bearer credentials, JWTs, and the user and password of a URL; each with what it must contain, in lower
# case, because looking for that is far quicker than the pattern.
_VALUES = (
    (b"ch_", re.compile(rb"\bch_[A-Za-z0-9]+_[A-Za-z0-9_-]+")),
    (b"bearer", re.compile(rb"bearer\s+[^\s\"',;\\]+", re.IGNORECASE)),
    (b"eyj", re.compile(rb"\beyJ[\w-]+\.[\w-]+\.[\w-]*")),
    (b"://", re.compile(rb"(?<=://)[^\s/@\"\\]*:[^\s/@\"\\]+(?=@)")),
)


def redact_fields(fields: Mapping[str, Any], depth: int = DEPTH_MAX) -> dict[str, Any]:
    """Return `fields` with the values of secret names replaced, and with them whatever lies too deep to look at."""
    return {
        name: REDACTED if _is_secret(name) else value if isinstance(value, (str, int, float)) else _redact(value, depth)
        for name, value in fields.items()
    }


def redact_text(text: bytes) -> bytes:
    """Return a rendered line with whatever looks like a credential replaced; JSON stays JSON."""
    lower = text.lower()
    for marker, pattern in _VALUES:
        if marker in lower:
            text = pattern.sub(REDACTED.encode(), text)
    return text


def _redact(value: Any, depth: int) -> Any:
    if not isinstance(value, (Mapping, list, tuple)):
        return value
    if depth == 0:
        return REDACTED
    if isinstance(value, Mapping):
        return redact_fields(value, depth - 1)
    return [_redact(item, depth - 1) for item in value]


@lru_cache(maxsize=1024)
def _is_secret(name: Any) -> bool:
    return _NAMES.search(str(name)) is not None
