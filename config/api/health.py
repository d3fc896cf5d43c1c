"""Is it alive, may it have traffic, how are its parts, what are its figures: four questions, four answers."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db import Error as DatabaseFailure
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from redis.exceptions import RedisError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.api.permissions import HasScope
from config.api.problems import problem
from config.runtime import metrics
from config.runtime.errors import DomainError, Kind
from config.runtime.redis import RedisAway, redis_client
from config.runtime.stopping import stopping

# One of them is enough: a proxy that ends TLS may add nothing but X-Forwarded-Proto.
_FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")
_migrated = threading.Event()
_started = time.monotonic()


class NotReady(DomainError):
    """This process should have no traffic now; `parts` says why."""

    kind, code = Kind.BUSY, "not_ready"


@require_safe
def livez(_request: HttpRequest) -> HttpResponse:
    """Answer 200 as long as the process serves; asks nothing, so that no outage elsewhere restarts it."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 when requests can succeed here, else 503 with the parts that are not ready."""
    asked = {name: part["status"] for name, part in _database_parts().items()}
    parts = {"process": "draining" if _is_draining() else "ok"} | asked
    if set(parts.values()) != {"ok"}:
        return problem(NotReady(parts=parts), request)
    return JsonResponse({"status": "ok", "parts": parts})


class ScopeOrNetwork(HasScope):
    """Let in addresses of METRICS_ALLOW without a key, and everybody else by scope."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return True, or raise as `HasScope` does."""
        return _is_near(request.META) or super().has_permission(request, view)


class HealthView(APIView):
    """The state of the service's parts. A degraded part leaves the status 200: this is for people and monitors."""

    permission_classes = [ScopeOrNetwork]
    required_scopes = {"GET": "health:read"}
    quota_costs = {"GET": 0}

    @extend_schema(operation_id="get_health", responses=OpenApiTypes.OBJECT)
    def get(self, _request: Request) -> Response:
        """Return release, uptime in seconds, and every part with its status and milliseconds."""
        parts = _database_parts() | {"redis": _timed(_ask_redis)}
        healthy = all(part["status"] == "ok" for part in parts.values())
        return Response(
            {
                "status": "ok" if healthy else "degraded",
                "release": settings.RELEASE,
                "uptime_s": round(time.monotonic() - _started),
                "parts": parts,
            }
        )


class AnyType(BaseContentNegotiation):
    """Takes whatever a scraper accepts for the one type that there is."""

    def select_renderer(
        self,
        request: Request,  # noqa: ARG002
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,  # noqa: ARG002
    ) -> tuple[BaseRenderer, str]:
        """Return the first."""
        first = next(iter(renderers))
        return first, first.media_type


class MetricsView(APIView):
    """The metrics of all processes, in Prometheus' text format."""

    permission_classes = [ScopeOrNetwork]
    required_scopes = {"GET": "metrics:read"}
    quota_costs = {"GET": 0}
    content_negotiation_class = AnyType

    @extend_schema(operation_id="get_metrics", responses={(200, "text/plain"): OpenApiTypes.STR})
    def get(self, _request: Request) -> HttpResponse:
        """Return the exposition."""
        return HttpResponse(metrics.exposition(), content_type=metrics.CONTENT_TYPE)


def _is_draining() -> bool:
    """Tell whether traffic should go elsewhere: for good, or as the operator's file says, until it is deleted."""
    return stopping() or (bool(settings.DRAIN_FILE) and Path(settings.DRAIN_FILE).exists())


def _database_parts() -> dict[str, dict[str, Any]]:
    """Ask for migrations only where there is a database: a second wait for the same timeout would say nothing new."""
    database = _timed(_ask_database)
    migrations = _timed(_ask_migrations) if database["status"] == "ok" else {"status": "unknown"}
    return {"database": database, "migrations": migrations}


def _ask_database() -> None:
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SELECT 1")


class _Pending(Exception):
    """Migrations wait to be applied."""


def _ask_migrations() -> None:
    """Raise while the code is ahead of the database. Once good it stays good: a process never loads newer code."""
    if _migrated.is_set():
        return
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise _Pending
    _migrated.set()


def _ask_redis() -> None:
    redis_client(settings.REDIS_URL).ping()


def _timed(ask: Callable[[], None]) -> dict[str, Any]:
    """Return the part's status and how long it took to say so; the error itself stays inside, only its class shows."""
    begun = time.monotonic()
    status: dict[str, Any] = {"status": "ok"}
    try:
        ask()
    except (DatabaseFailure, RedisError, RedisAway, _Pending) as error:
        status = {"status": "failed", "error": type(error).__name__.lstrip("_")}
    return status | {"ms": round((time.monotonic() - begun) * 1000, 1)}


def _is_near(meta: dict[str, Any]) -> bool:
    """Tell whether an allowed address itself is asking: what a proxy passes on comes from somebody else."""
    if any(name in meta for name in _FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(meta.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return any(address in network for network in _allowed(tuple(settings.METRICS_ALLOW)))


@cache
def _allowed(networks: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(network) for network in networks)
