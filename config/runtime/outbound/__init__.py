"""Guarded outbound HTTP: to addresses others gave us, without becoming their way into our network."""

from __future__ import annotations

from config.runtime.outbound.answer import Answer, Timings
from config.runtime.outbound.client import send, vet_url
from config.runtime.outbound.dns import Resolver, system_resolver
from config.runtime.outbound.errors import AddressBlocked, OutboundFailed, OutboundRefused, Reason

__all__ = [
    "AddressBlocked",
    "Answer",
    "OutboundFailed",
    "OutboundRefused",
    "Reason",
    "Resolver",
    "Timings",
    "send",
    "system_resolver",
    "vet_url",
]
