"""What goes wrong with events, named for the fact."""

from __future__ import annotations

from config.runtime.errors import DomainError, Invalid, Kind


class CursorExpired(DomainError):
    """The events after this cursor are not kept any more: begin anew without it, and read what stands now."""

    kind, code = Kind.GONE, "cursor_expired"


class InboundUnbound(DomainError):
    """A topic of INBOUND_TOPICS belongs to no client that there is, nobody knows its mode, or nothing is to consume."""

    kind, code = Kind.INTERNAL, "inbound_unbound"


class EventGone(DomainError):
    """The event is not kept any more, or who could not take it is not configured any more."""

    kind, code = Kind.GONE, "event_gone"


class DeadLetterResolved(DomainError):
    """The dead letter has been replayed or discarded already."""

    kind, code = Kind.CONFLICT, "dead_letter_resolved"


class DeadLetterBehind(DomainError):
    """An older dead letter of the same consumer and key is open: it comes first, or is discarded first."""

    kind, code = Kind.CONFLICT, "dead_letter_behind"


class DeadLetterBusy(DomainError):
    """Somebody else is replaying the dead letter just now."""

    kind, code = Kind.BUSY, "dead_letter_busy"


class DeadLetterUnknown(Invalid):
    """There is no dead letter with this id."""

    code = "dead_letter_unknown"


class ClientUnknown(Invalid):
    """There is no client of this name or id."""

    code = "client_unknown"


class DeadLettersUnclear(Invalid):
    """Either `ids` or a `filter` says which dead letters are meant."""

    code = "dead_letters_unclear"


class ReplayExhausted(DomainError):
    """The dead letter was replayed as often as may be; staff may replay it again, or discard it."""

    kind, code = Kind.CONFLICT, "replay_exhausted"


class ReplayFailed(DomainError):
    """The message failed again; its dead letter stays open, and `last_error` says why."""

    kind, code = Kind.CONFLICT, "replay_failed"


class ReplayUnhandled(DomainError):
    """No handler is named for the kind of this consumer."""

    kind, code = Kind.CONFLICT, "replay_unhandled"
