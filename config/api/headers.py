"""Headers: a Host that is ours in every request, and in every answer what keeps browsers from misusing it."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

# What Django's own middleware says of pages, and for answers that are no pages: load nothing, and ask before you show
# what you kept.
SAFE = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
BODILESS = frozenset({204, 304})
OVER_TLS = {"Strict-Transport-Security": "max-age={seconds}; includeSubDomains; preload"}


class SafeHeaders:
    """Middleware: refuse a Host that is not ours, and add to an answer what it does not say itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        seconds = settings.SECURE_HSTS_SECONDS
        self.plain = _stored(SAFE)
        self.over_tls = self.plain | _stored({name: text.format(seconds=seconds) for name, text in OVER_TLS.items()})
        self.is_strict = seconds > 0

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.get_host()
        response = self.get_response(request)
        if isinstance(response, HttpResponse) and response.status_code not in BODILESS:
            response.headers["Content-Length"] = str(len(response.content))
        headers = response.headers
        safe = self.over_tls if self.is_strict and request.is_secure() else self.plain
        # Past the mapping's own door, at which every header is encoded and searched for line ends, request by request.
        headers._store = safe | headers._store  # noqa: SLF001
        return response


def _stored(headers: dict[str, str]) -> dict[str, tuple[str, str]]:
    return {name.lower(): (name, value) for name, value in headers.items()}
