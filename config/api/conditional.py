"""Conditional requests (RFC 9110 §13): what the client has already is not sent again, and 412 where it is another."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.http import ConditionalGetMiddleware

from config.api.problems import problem
from config.runtime.errors import DomainError, Kind


class PreconditionFailed(DomainError):
    """What stands there is not what `If-Match` names; read it again."""

    kind, code = Kind.PRECONDITION, "precondition_failed"


FAILED = 412


class Conditional(ConditionalGetMiddleware):
    """Middleware: Django's own, whose 412 says what is wrong. The ETag of an answer is a hash of it."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Return the answer with its ETag, or 304, or the refusal."""
        answer: HttpResponseBase = super().process_response(request, response)
        if answer is not response and answer.status_code == FAILED:
            return problem(PreconditionFailed(), request)
        return answer
