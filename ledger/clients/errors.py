"""Failures of clients and keys."""

from __future__ import annotations

from config.runtime.errors import DomainError, Kind


class KeyInvalid(DomainError):
    """The API key is unknown, revoked or expired."""

    kind, code = Kind.UNAUTHENTICATED, "api_key_invalid"


class ClientNameMalformed(DomainError):
    """A client's name has 1 to 100 characters."""

    kind, code = Kind.INVALID, "client_name_malformed"


class ClientNameTaken(DomainError):
    """Another client has this name."""

    kind, code = Kind.CONFLICT, "client_name_taken"


class ScopeUnknown(DomainError):
    """There is no such scope."""

    kind, code = Kind.INVALID, "scope_unknown"


class ScopeReserved(DomainError):
    """Scopes operations:… are for clients of tier internal."""

    kind, code = Kind.INVALID, "scope_reserved"


class TierNeededByKeys(DomainError):
    """Keys of this client hold scopes operations:…, which only tier internal may have; revoke them first."""

    kind, code = Kind.CONFLICT, "tier_needed_by_keys"
