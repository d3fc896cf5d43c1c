"""What HTTP, the framework or the database refuses, as the errors that every door already speaks."""

from __future__ import annotations

from math import ceil
from typing import Any, ClassVar

import psycopg
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404
from django.http.request import UnreadablePostError
from django.urls import Resolver404
from rest_framework import exceptions as drf

from config.runtime.errors import DomainError, FieldError, Invalid, Kind, NotFound


class Internal(DomainError):
    """Something went wrong on our side; it is logged under this request's id."""

    kind, code = Kind.INTERNAL, "internal_error"


class RequestMalformed(DomainError):
    """The request is not well-formed HTTP for this service."""

    kind, code = Kind.MALFORMED, "request_malformed"


class BodyIncomplete(DomainError):
    """The connection ended before the whole body had arrived."""

    kind, code = Kind.MALFORMED, "body_incomplete"


class BodyTooLarge(DomainError):
    """The body is longer than this operation takes."""

    kind, code = Kind.TOO_LARGE, "body_too_large"


class Unauthenticated(DomainError):
    """A valid API key or token is required, as `Authorization: Bearer …`."""

    kind, code = Kind.UNAUTHENTICATED, "unauthenticated"


class Forbidden(DomainError):
    """The key or token does not allow this."""

    kind, code = Kind.FORBIDDEN, "forbidden"


class RouteUnknown(DomainError):
    """No operation has this address."""

    kind, code = Kind.NOT_FOUND, "route_not_found"


class RateLimited(DomainError):
    """Too many requests; `Retry-After` says when to come back."""

    kind, code = Kind.LIMITED, "rate_limited"


class DatabaseUnavailable(DomainError):
    """The database cannot be reached or has no free connection; nothing is known to have been changed."""

    kind, code = Kind.BUSY, "database_unavailable"


class LockTimeout(DomainError):
    """Another request held a lock for too long; nothing was changed."""

    kind, code = Kind.BUSY, "lock_timeout"


class QueryTimeout(DomainError):
    """The query took longer than it may; narrow it or try later."""

    kind, code = Kind.BUSY, "query_timeout"


class UpdateCollision(DomainError):
    """Concurrent requests changed the same rows; nothing was changed, the request can be repeated."""

    kind, code = Kind.BUSY, "update_collision"


class HttpRefusal(DomainError):
    """A refusal whose status HTTP itself fixes, outside the table of kinds."""

    kind = Kind.MALFORMED
    status: ClassVar[int] = 400


class MethodNotAllowed(HttpRefusal):
    """This address does not take this method; `Allow` lists those it takes."""

    code, status = "method_not_allowed", 405


class NotAcceptable(HttpRefusal):
    """The answer cannot be given in any type that `Accept` names."""

    code, status = "not_acceptable", 406


class LengthRequired(HttpRefusal):
    """A body needs a Content-Length."""

    code, status = "length_required", 411


class MediaTypeUnsupported(HttpRefusal):
    """The body must be `application/json` in UTF-8, without Content-Encoding."""

    code, status = "media_type_unsupported", 415


# First match wins: a subclass stands above its base. Messages of the framework stay inside, they name our classes.
_PLAIN: tuple[tuple[type[Exception], type[DomainError]], ...] = (
    (Resolver404, RouteUnknown),
    (Http404, NotFound),
    (PermissionDenied, Forbidden),
    (RequestDataTooBig, BodyTooLarge),
    (SuspiciousOperation, RequestMalformed),
    (BadRequest, RequestMalformed),
    (UnreadablePostError, BodyIncomplete),
    (drf.ParseError, RequestMalformed),
    (drf.NotAuthenticated, Unauthenticated),
    (drf.AuthenticationFailed, Unauthenticated),
    (drf.PermissionDenied, Forbidden),
    (drf.NotFound, NotFound),
    (drf.MethodNotAllowed, MethodNotAllowed),
    (drf.NotAcceptable, NotAcceptable),
    (drf.UnsupportedMediaType, MediaTypeUnsupported),
)
_BY_SQLSTATE: dict[str, type[DomainError]] = {
    "55P03": LockTimeout,  # lock_not_available
    "57014": QueryTimeout,  # query_canceled
    "40001": UpdateCollision,  # serialization_failure
    "40P01": UpdateCollision,  # deadlock_detected
}
_DATABASE = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)
# The server ended the session of a process that was frozen; Django takes it for an error of its own.
_SESSION_ENDED = psycopg.errors.IdleInTransactionSessionTimeout


def translated(exc: BaseException | None) -> DomainError | None:
    """Return `exc` as a `DomainError`, or None for what nobody expects: the caller answers 500 and logs it."""
    if isinstance(exc, DomainError):
        return exc
    if isinstance(exc, _DATABASE) or (isinstance(exc, DatabaseError) and isinstance(exc.__cause__, _SESSION_ENDED)):
        return _of_database(exc)
    if isinstance(exc, drf.ValidationError):
        return Invalid(errors=tuple(_of_fields(exc.detail, "")))
    if isinstance(exc, drf.Throttled):
        return RateLimited(retry_after_s=ceil(getattr(exc, "wait", None) or 1))
    return next((refusal() for known, refusal in _PLAIN if isinstance(exc, known)), None)


def _of_database(exc: DatabaseError | InterfaceError | psycopg.Error) -> DomainError:
    """Django wraps psycopg's error and keeps it as the cause, which alone knows the SQLSTATE."""
    driver_error = exc if isinstance(exc, psycopg.Error) else exc.__cause__
    sqlstate = getattr(driver_error, "sqlstate", None) or ""
    return _BY_SQLSTATE.get(sqlstate, DatabaseUnavailable)(retry_after_s=1)


def _of_fields(detail: Any, pointer: str) -> list[FieldError]:
    """Flatten a serializer's nested errors into JSON pointers."""
    if isinstance(detail, dict):
        members = [
            (f"{pointer}/{name}" if name != "non_field_errors" else pointer, part) for name, part in detail.items()
        ]
    elif isinstance(detail, list) and any(isinstance(part, dict) for part in detail):
        members = [(f"{pointer}/{index}", part) for index, part in enumerate(detail) if part]
    elif isinstance(detail, list):
        members = [(pointer, part) for part in detail]
    else:
        return [FieldError(pointer, f"field_{getattr(detail, 'code', 'invalid')}", str(detail))]
    return [error for place, part in members for error in _of_fields(part, place)]
