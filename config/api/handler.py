"""Django's handler with a short cut: an API request passes by the middleware that only pages need."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest
from django.utils.module_loading import import_string

APIS = ("/v2/", "/api/")


class ShortCut(BaseHandler):
    """Two chains: all of MIDDLEWARE, and for an API all but PAGE_MIDDLEWARE, whose parts have hooks of pages alone."""

    _middleware_chain: Any  # Django's: a request in, an answer out
    _get_response: Any

    def load_middleware(self, is_async: bool = False) -> None:
        """Make both; Django calls it once."""
        super().load_middleware(is_async)
        pages, api = self._middleware_chain, convert_exception_to_response(self._get_response)
        for path in reversed(settings.MIDDLEWARE):
            if path not in settings.PAGE_MIDDLEWARE:
                api = convert_exception_to_response(import_string(path)(api))

        def answer(request: HttpRequest) -> Any:
            return (api if request.path_info.startswith(APIS) else pages)(request)

        self._middleware_chain = answer


class Handler(ShortCut, WSGIHandler):
    """The WSGI application: `config.wsgi` calls it."""
