"""What goes wrong with events, named for the fact."""

from __future__ import annotations

from config.runtime.errors import DomainError, Kind


class CursorExpired(DomainError):
    """The events after this cursor are not kept any more: begin anew without it, and read what stands now."""

    kind, code = Kind.GONE, "cursor_expired"
