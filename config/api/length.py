"""A body's length is declared, and for a page small, before the body is read."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse

from config.api.logins import PAGES
from config.api.problems import problem
from config.api.refusals import LengthRequired


class KnownLength:
    """Middleware: refuse a chunked body without Content-Length, which Django would silently take for no body.

    Pages take no files, so a page's whole form stays within what Django allows for its fields.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = request.META.get("CONTENT_LENGTH")
        if "HTTP_TRANSFER_ENCODING" in request.META and not length:
            return problem(LengthRequired(), request)
        if request.path_info.startswith(PAGES) and int(length or 0) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise RequestDataTooBig
        return self.get_response(request)
