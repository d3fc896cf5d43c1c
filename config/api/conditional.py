"""Conditional requests (RFC 9110 §13): what the client has already is not sent again, and 412 where it is another.

The ETag of an answer is a hash of it, uncompressed. What changes an object compares `If-Match` with the object as its
GET would answer, behind the object's lock: of two that know the same state, one wins. In an answer that is compressed
the tag is weak, and a weak tag never matches in `If-Match` (§13.1.1): there it is sent without its `W/`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.http import ConditionalGetMiddleware
from django.utils.cache import set_response_etag
from django.utils.http import parse_etags
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from config.api.answers import answer
from config.api.permissions import operation_of
from config.api.problems import problem
from config.runtime.errors import DomainError, Kind

if TYPE_CHECKING:  # DRF imports this module while it defines its views
    from rest_framework.views import APIView

FAILED = 412

Condition = Callable[[Any], None]


class PreconditionFailed(DomainError):
    """What stands there is not what `If-Match` names; read it again. A weak tag never matches: leave out its `W/`."""

    kind, code = Kind.PRECONDITION, "precondition_failed"


class PreconditionUnsupported(DomainError):
    """This operation cannot be made to depend on such a condition; nothing was done. Send it without."""

    kind, code = Kind.MALFORMED, "precondition_unsupported"


class Conditional(ConditionalGetMiddleware):
    """Middleware: Django's own, whose 412 says what is wrong."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Return the answer with its ETag, or 304, or the refusal."""
        answered: HttpResponseBase = super().process_response(request, response)
        if answered is not response and answered.status_code == FAILED:
            return problem(PreconditionFailed(), request)
        return answered


class ConditionsAreMet(BasePermission):
    """Refuse a change with a condition that nobody would look at (RFC 9110 §13.1.1: unmet, it forbids the change).

    A view's `conditional` names the operations that look at `If-Match`, by `condition_of`.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return True, or raise.

        Raises:
            PreconditionUnsupported
        """
        method = request.method or ""
        if method in SAFE_METHODS:
            return True
        is_read = operation_of(view, method) in getattr(view, "conditional", ())
        if "HTTP_IF_NONE_MATCH" in request.META or ("HTTP_IF_MATCH" in request.META and not is_read):
            raise PreconditionUnsupported
        return True


def condition_of(request: Request) -> Condition | None:
    """Return what `If-Match` asks of the object that is to change, None without the header.

    It is called with the object as its GET answers it, behind the lock under which it changes, and raises
    `PreconditionFailed`. What an earlier request with the same Idempotency-Key did is not asked about again.
    """
    given = request.META.get("HTTP_IF_MATCH")
    return None if given is None else partial(_require, tags=parse_etags(given))


def etag_of(value: Any) -> str:
    """Return the ETag of an answer that shows `value`."""
    return set_response_etag(answer(value)).headers["ETag"]


def _require(value: Any, *, tags: list[str]) -> None:
    if "*" not in tags and etag_of(value) not in tags:
        raise PreconditionFailed
