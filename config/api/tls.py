"""An API is not redirected to TLS: clients repeat a redirected POST as GET, and the key has been shown by then."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from config.api.handler import APIS
from config.api.problems import problem
from config.api.refusals import Forbidden


class TlsRequired(Forbidden):
    """The API is served over https only; a key that was sent over plain http should be replaced."""

    code = "tls_required"


class ApiOverTls:
    """Middleware: where pages are redirected to https, refuse API requests over plain HTTP."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if settings.SECURE_SSL_REDIRECT and request.path.startswith(APIS) and not _may_be_plain(request):
            return problem(TlsRequired(), request)
        return self.get_response(request)


def _may_be_plain(request: HttpRequest) -> bool:
    path = request.path.lstrip("/")
    return request.is_secure() or any(re.search(exempt, path) for exempt in settings.SECURE_REDIRECT_EXEMPT)
