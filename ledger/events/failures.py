"""What is kept of an error that somebody's code raised about an event or a message."""

from __future__ import annotations

from django.db import DatabaseError

from config.runtime.errors import DomainError
from config.runtime.redaction import redact_text

ATTEMPTS_MAX = 5
CODE_LENGTH_MAX, TEXT_LENGTH_MAX = 64, 500
UNEXPECTED = "unexpected_error"


def failure_code(error: BaseException) -> str:
    """Return the stable code of an error: a domain error's own, a database error's SQLSTATE, or `unexpected_error`."""
    if isinstance(error, DomainError):
        return error.code[:CODE_LENGTH_MAX]
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    sqlstate = getattr(cause, "sqlstate", None)
    return f"sqlstate_{sqlstate}" if sqlstate else UNEXPECTED


def failure_text(error: BaseException) -> str:
    """Return what an error says to people, without secrets and not too long."""
    said = error.detail if isinstance(error, DomainError) else f"{type(error).__name__}: {error}"
    return redact_text(said.encode(errors="replace")).decode(errors="replace").replace("\0", "�")[:TEXT_LENGTH_MAX]
