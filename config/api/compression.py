"""Answers in fewer bytes, for who asks for it: zstd, brotli or gzip, by the client's qualities (RFC 9110 §12.5.3)."""

from __future__ import annotations

import re

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django_http_compression.middleware import HttpCompressionMiddleware

# Below this the bytes saved are fewer than a packet has to spare.
SIZE_MIN = 1_024


class Compression(HttpCompressionMiddleware):
    """Middleware: what is text and large is compressed, but never a secret.

    An answer with a secret says `no-store`: how well it compresses would tell of it to whoever may put text of his own
    beside it (BREACH). Against that, others carry a header of random length.
    """

    content_type_re = re.compile(r"(?:text/.*|application/(?:problem\+json|json|x-ndjson|javascript|xml))\Z")

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = self.get_response(request)  # type: ignore[assignment]  # we serve no coroutines
        if self._pays(response):
            patch_vary_headers(response, ["Accept-Encoding"])
            if "HTTP_ACCEPT_ENCODING" in request.META:
                self.maybe_compress(request, response)
        return response

    def _pays(self, response: HttpResponseBase) -> bool:
        if isinstance(response, HttpResponse) and len(response.content) < SIZE_MIN:
            return False
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        return self.content_type_re.match(kind) is not None and "no-store" not in response.headers.get(
            "Cache-Control", ""
        )
