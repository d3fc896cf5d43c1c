"""Who asks without a key: so many requests a minute from one address."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django_ratelimit.core import get_usage

from config.api.handler import APIS
from config.api.problems import problem
from config.api.refusals import RateLimited

# Logins have a limit of their own, and monitors ask how we are as often as they like.
FREE = "/v2/health"
DOCUMENTS = ("/docs", "/redoc")
API_DOCUMENTS = ("/docs", "/schema")


class Strangers:
    """Middleware: 429 `rate_limited` for an address that asks too often.

    Who sends a key to the API is the authenticator's; the documents look at none.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if _is_strangers(request):
            rate = f"{settings.STRANGERS_PER_MINUTE}/m"
            usage = get_usage(request, "strangers", key="ip", rate=rate, increment=True)
            if usage is not None and usage["should_limit"]:
                return problem(RateLimited(retry_after_s=usage["time_left"]), request)
        return self.get_response(request)


def _is_strangers(request: HttpRequest) -> bool:
    path = request.path_info
    if path.startswith(APIS):
        is_open = "HTTP_AUTHORIZATION" not in request.META or path.endswith(API_DOCUMENTS)
        return is_open and not path.startswith(FREE)
    return path.startswith(DOCUMENTS)
