"""Where a request comes from."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request

UNKNOWN = "0.0.0.0"  # noqa: S104  (nothing is bound to it: it stands for a peer that has no address)


def client_address(request: HttpRequest | Request) -> str:
    """Return the address of the client, as the outermost of our TRUSTED_PROXIES saw it.

    Each of them appends to X-Forwarded-For whom it heard. What stands left of that, anybody may have written.
    """
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")[-settings.TRUSTED_PROXIES :]
    seen = forwarded[0] if settings.TRUSTED_PROXIES else ""
    return _address(seen) or _address(request.META.get("REMOTE_ADDR", "")) or UNKNOWN


def _address(text: str) -> str:
    """Return an address in the one way to write it, or an empty string for what is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0].strip())
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)
