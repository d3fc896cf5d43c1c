"""What goes wrong with events, named for the fact."""

from __future__ import annotations

from config.runtime.errors import DomainError, Kind


class CursorExpired(DomainError):
    """The events after this cursor are not kept any more: begin anew without it, and read what stands now."""

    kind, code = Kind.GONE, "cursor_expired"


class InboundUnbound(DomainError):
    """A topic of INBOUND_TOPICS belongs to no client that there is, or nobody knows its mode."""

    kind, code = Kind.INTERNAL, "inbound_unbound"


class EventGone(DomainError):
    """The event is not kept any more, or who could not take it is not configured any more."""

    kind, code = Kind.GONE, "event_gone"
