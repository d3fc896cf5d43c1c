"""Failures of clients and keys."""

from __future__ import annotations

from config.runtime.errors import DomainError, Kind


class KeyInvalid(DomainError):
    """The API key is unknown, revoked or expired."""

    kind, code = Kind.UNAUTHENTICATED, "api_key_invalid"


class TokenInvalid(DomainError):
    """The token is not one that this service minted, or the key that minted it has ended."""

    kind, code = Kind.UNAUTHENTICATED, "token_invalid"


class TokenExpired(DomainError):
    """The token's minutes are over; mint another."""

    kind, code = Kind.UNAUTHENTICATED, "token_expired"


class AddressRefused(DomainError):
    """The key is not taken from this address."""

    kind, code = Kind.FORBIDDEN, "address_refused"


class GuessingLimited(DomainError):
    """Too many keys and tokens were wrong; `Retry-After` says when the next is looked at."""

    kind, code = Kind.LIMITED, "guessing_limited"


class KeyEnded(DomainError):
    """The key has expired or was revoked."""

    kind, code = Kind.CONFLICT, "key_ended"


class KeyExceeds(DomainError):
    """A key makes, rotates and revokes only keys that may do no more than itself, from no other address, no longer."""

    kind, code = Kind.FORBIDDEN, "key_exceeds_own"


class TooManyKeys(DomainError):
    """The client has as many live keys as it may have; revoke those that nobody uses."""

    kind, code = Kind.CONFLICT, "too_many_keys"


class NetworkMalformed(DomainError):
    """Address ranges are written like 203.0.113.0/24 or 2001:db8::/32, at most 20 of them."""

    kind, code = Kind.INVALID, "network_malformed"


class LabelMalformed(DomainError):
    """A key's label has at most 100 characters."""

    kind, code = Kind.INVALID, "label_malformed"


class ExpiryPassed(DomainError):
    """A key cannot expire before it is made."""

    kind, code = Kind.INVALID, "expiry_passed"


class TokenScopesRefused(DomainError):
    """A token holds only scopes that its key holds too, and that are for end users."""

    kind, code = Kind.INVALID, "token_scopes_refused"


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


class QuotaExceeded(DomainError):
    """The client's quota is used up, which all its keys and tokens share; `Retry-After` says when there is enough."""

    kind, code = Kind.LIMITED, "quota_exceeded"


class BatchOverTier(DomainError):
    """The batch has more items than the client's tier allows; send it in parts."""

    kind, code = Kind.TOO_LARGE, "batch_over_tier"
