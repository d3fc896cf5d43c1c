"""The end of v1: on its every answer since when it is deprecated, until when it is there, and where to go on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse
from django.utils.http import http_date

V1 = "/api/v1/"
GUIDE = "/docs/migrate-v1-v2"


class Deprecated:
    """Middleware: `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and links to the guide and to the successor in v2."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.dates = {
            "Deprecation": f"@{_seconds(settings.V1_DEPRECATED_ON)}",
            "Sunset": http_date(_seconds(settings.V1_SUNSET_ON)),
        }

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if request.path_info.startswith(V1):
            links = {"deprecation": GUIDE, "sunset": GUIDE, "successor-version": _successor(request)}
            linked = ", ".join(f'<{url}>; rel="{relation}"' for relation, url in links.items())
            for name, value in (self.dates | {"Link": linked}).items():
                response.headers[name] = value
        return response


@register()
def sunset_comes_after_deprecation(**_options: Any) -> list[CheckMessage]:
    """Django's system check (RFC 9745 §4)."""
    if settings.V1_SUNSET_ON > settings.V1_DEPRECATED_ON:
        return []
    said = f"V1_SUNSET_ON ({settings.V1_SUNSET_ON}) is not after V1_DEPRECATED_ON ({settings.V1_DEPRECATED_ON})."
    return [Error(said, id="countinghouse.E003")]


def _successor(request: HttpRequest) -> str:
    """Return the address in v2 of the route with the same name, or of the document that has them all."""
    match = request.resolver_match
    if match is not None:
        try:
            return reverse(f"v2:{match.url_name}", kwargs=match.captured_kwargs)  # type: ignore[attr-defined]  # Django has it
        except NoReverseMatch:
            pass
    return reverse("v2:schema")


def _seconds(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
