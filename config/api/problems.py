"""Errors on the wire: the one table from kind to HTTP status, and RFC 9457 documents for everything."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views import defaults
from rest_framework.request import Request
from rest_framework.response import Response

from config.api.body import drop_rest, is_unread
from config.api.encoding import encode
from config.api.principal import Principal
from config.api.refusals import (
    Forbidden,
    HttpRefusal,
    Internal,
    RequestMalformed,
    RouteUnknown,
    Unauthenticated,
    translated,
)
from config.runtime.errors import DomainError, Kind
from config.runtime.logging import annotate, note_failure

STATUS: dict[Kind, int] = {
    Kind.MALFORMED: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.GONE: 410,
    Kind.PRECONDITION: 412,
    Kind.TOO_LARGE: 413,
    Kind.INVALID: 422,
    Kind.LIMITED: 429,
    Kind.INTERNAL: 500,
    Kind.BUSY: 503,
}
CONTENT_TYPE = "application/problem+json"
TYPE_BASE = "/docs/errors"
# RFC 6750 §3: who shows nothing is not told of an error.
CHALLENGE, INVALID = 'Bearer realm="countinghouse"', 'error="invalid_token"'


def status_of(error: DomainError | type[DomainError]) -> int:
    """Return the HTTP status of an error or of its class."""
    if isinstance(error, HttpRefusal) or (isinstance(error, type) and issubclass(error, HttpRefusal)):
        return error.status
    return STATUS[error.kind]


def problem_document(error: DomainError, *, request_id: str = "") -> dict[str, Any]:
    """Return the RFC 9457 document of `error`: for answers, batch items and commands alike.

    Members: type, title, status, code, detail, errors, request_id when given, then the error's own fields.
    """
    document: dict[str, Any] = {
        "type": f"{TYPE_BASE}#{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": status_of(error),
        "code": error.code,
        "detail": error.detail,
        "errors": [{"pointer": at.pointer, "code": at.code, "detail": at.detail} for at in error.errors],
    }
    if request_id:
        document["request_id"] = request_id
    return document | {name: value for name, value in error.fields.items() if name not in document}


def problem(
    error: DomainError, request: HttpRequest | Request, *, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """Answer `request` with `error`, and with `headers` beside those of the error.

    A client with a valid key may send an unread body to its end first, so that the answer arrives. Anybody else could
    hold a thread by sending slowly: they are answered at once, and their connection ends.
    """
    request = getattr(request, "_request", request)  # Django's, for which DRF has no public name
    said = {**_headers(error), **(headers or {})}
    if is_unread(request) and not (isinstance(getattr(request, "auth", None), Principal) and drop_rest(request)):
        said["Connection"] = "close"
    annotate(problem=error.code)
    document = problem_document(error, request_id=getattr(request, "request_id", ""))
    return HttpResponse(encode(document), status=document["status"], content_type=CONTENT_TYPE, headers=said)


def handle(exc: Exception, context: dict[str, Any]) -> HttpResponse | Response | None:
    """Answer what an API view raised; None lets Django log the unexpected and call `server_error`."""
    error = translated(exc)
    if error is None:
        return None
    if status_of(error) >= STATUS[Kind.INTERNAL]:
        note_failure(exc)
    return problem(error, context["request"])


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400."""
    if _is_page(request):
        return defaults.bad_request(request, exception)
    return problem(translated(exception) or RequestMalformed(), request)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    if _is_page(request):
        return defaults.permission_denied(request, exception)
    return problem(Forbidden(), request)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    if _is_page(request):
        return defaults.page_not_found(request, exception)
    return problem(translated(exception) or RouteUnknown(), request)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: what any view or middleware raised, seen through `sys.exception`."""
    if _is_page(request):
        return defaults.server_error(request)
    return problem(translated(sys.exception()) or Internal(), request)


def _is_page(request: HttpRequest) -> bool:
    return request.path.startswith("/admin")


def _headers(error: DomainError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if error.retry_after_s is not None or error.kind in {Kind.BUSY, Kind.LIMITED}:
        headers["Retry-After"] = str(max(1, error.retry_after_s or 1))
    if error.kind is Kind.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = CHALLENGE if isinstance(error, Unauthenticated) else f"{CHALLENGE}, {INVALID}"
    return headers
