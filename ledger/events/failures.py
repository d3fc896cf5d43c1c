"""What is kept of an error that somebody's code raised about an event or a message."""

from __future__ import annotations

from django.db import DatabaseError

from config.runtime.errors import DomainError
from config.runtime.redaction import redact_text
from ledger.events.models import TEXT_LENGTH_MAX

ATTEMPTS_MAX = 5
CODE_LENGTH_MAX = 64
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
    return error_text(error.detail if isinstance(error, DomainError) else f"{type(error).__name__}: {error}")


def error_text(text: str) -> str:
    """Return an error for people: bounded, and without what looks like a credential."""
    return storable(redact_text(text.encode(errors="replace")).decode(), TEXT_LENGTH_MAX)


def storable(text: str, length_max: int | None = None) -> str:
    """Return a text as PostgreSQL stores it, cut to so many characters."""
    return text[:length_max].encode("utf-8", "replace").decode().replace("\0", "\ufffd")
