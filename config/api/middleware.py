"""The outermost middleware: every request has an id, a trace, and one line in the log."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from config.runtime import tracing
from config.runtime.ids import uuid7
from config.runtime.logging import unit_of_work

# Probes ask every few seconds: their lines show at DEBUG, unless they fail.
QUIET = frozenset({"/livez", "/readyz"})

# Anything else could forge log lines or headers.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")


class RequestRecord:
    """Sets `request.request_id`, answers `X-Request-ID`, and writes the canonical line `http.request`.

    A view adds to the line by `config.runtime.logging.annotate`. The line of a streamed answer is written when
    streaming begins.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = _accepted(request.META.get("HTTP_X_REQUEST_ID", "")) or uuid7().hex
        request.request_id = request_id  # type: ignore[attr-defined]  # ours to add
        method = request.method or ""
        carrier = {"traceparent": request.META.get("HTTP_TRACEPARENT", "")}
        with (
            tracing.span(method, kind="server", carrier=carrier) as span,
            unit_of_work(
                "http.request",
                request_id=request_id,
                trace_id=tracing.trace_id(),
                client="",
                route="",
                method=method,
                status=0,
            ) as unit,
        ):
            response = self.get_response(request)
            status, route = response.status_code, route_of(request)
            unit.fields |= {"route": route, "status": status}
            if status >= 500:  # noqa: PLR2004
                unit.level = "error"
            elif request.path_info in QUIET:
                unit.level = "debug"
            span.name(f"{method} {route}")
            span.annotate({"http.request.method": method, "http.route": route, "http.response.status_code": status})
        response["X-Request-ID"] = request_id
        return response


def route_of(request: HttpRequest) -> str:
    """Return the name of the view that was found, such as `v2:transaction-list`, or an empty string; never the path."""
    match = request.resolver_match
    return (match.view_name or match.route) if match else ""


def _accepted(request_id: str) -> str:
    return request_id if _REQUEST_ID.fullmatch(request_id) else ""
