"""Why a call did not go out, or came to nothing. The tenant sees these; the operator finds the cause chained."""

from __future__ import annotations

from typing import Literal

from config.runtime.errors import DomainError, Kind

Reason = Literal["dns", "connect", "tls", "timeout", "protocol", "too_large_headers"]

_DETAILS: dict[Reason, str] = {
    "dns": "The name of the receiver could not be resolved.",
    "connect": "The receiver does not accept connections.",
    "tls": "No trusted TLS connection could be made.",
    "timeout": "The receiver did not answer in time.",
    "protocol": "The receiver's answer is not proper HTTP.",
    "too_large_headers": "The head of the receiver's answer is too large.",
}


class OutboundRefused(DomainError):
    """This URL cannot be called."""

    kind, code = Kind.INVALID, "url_invalid"


class AddressBlocked(OutboundRefused):
    """The URL leads to an address, name or port that calls may not go to."""

    code = "blocked_address"


class OutboundFailed(DomainError):
    """The receiver could not be reached, or did not answer properly."""

    kind, code = Kind.BUSY, "outbound_failed"

    def __init__(self, reason: Reason) -> None:
        super().__init__(_DETAILS[reason], reason=reason)
        self.reason = reason
