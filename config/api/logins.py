"""Staff's pages: the login, with a limit to guessing, and the policy that their browsers keep to."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django_ratelimit.core import is_ratelimited

PAGES = "/admin/"
ATTEMPTS = "10/m"


class PagePolicy:
    """A strict Content-Security-Policy for the pages: nothing inline, nothing from elsewhere, in no frame."""

    POLICY = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if request.path_info.startswith(PAGES):
            response.headers.setdefault("Content-Security-Policy", self.POLICY)
        return response


def login(request: HttpRequest) -> HttpResponseBase:
    """Show the admin's login, or 429: ten attempts a minute from one address, and as many for one name."""
    attempts = [_is_limited(request, "ip", "ip"), _is_limited(request, "username", _username)]
    if any(attempts):
        refusal = render(request, "admin/too_many_logins.html", status=429)
        refusal.headers["Retry-After"] = "60"
        return refusal
    return admin.site.login(request)


def _is_limited(request: HttpRequest, group: str, key: str | Callable[[str, HttpRequest], str]) -> bool:
    return bool(is_ratelimited(request, f"login.{group}", key=key, rate=ATTEMPTS, method="POST", increment=True))


def _username(_group: str, request: HttpRequest) -> str:
    return request.POST.get("username", "").strip().casefold()
