"""Quotas at the door: every request of a client costs its tokens, and every answer says how many are left."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from config.api.permissions import operation_of
from config.api.principal import Principal
from config.runtime.metrics import QUOTA_EXCEEDED
from config.runtime.quota.bucket import Quota
from config.runtime.quota.limiter import Limiter, Verdict
from config.runtime.quota.store import Store
from config.runtime.redis import redis_client
from ledger.clients.errors import QuotaExceeded
from ledger.clients.tiers import TIERS

if TYPE_CHECKING:  # DRF imports this module while it defines its views
    from rest_framework.views import APIView

COST = 1

_limiter = Limiter(Store(redis_client(settings.REDIS_URL)))


class QuotaThrottle(BaseThrottle):
    """Charges what the view's `quota_costs` names for a viewset's action, or else an HTTP method: by default 1.

    What costs 0 is free, and is not refused.
    """

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Return True, or raise.

        Raises:
            QuotaExceeded: the client has used up its quota.
        """
        if isinstance(request.auth, Principal):
            charge(request, cost_of(view, request.method or ""))
        return True


class QuotaHeaders:
    """Middleware: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11) for a client we know.

    One that was refused before it came to the throttle, for its scopes or for what it accepts, is charged here.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        principal = getattr(request, "auth", None)
        if isinstance(principal, Principal):
            verdict = getattr(request, "quota", None) or _take(request, principal, COST)
            response.headers["RateLimit-Policy"] = _policy(TIERS[principal.tier].quota)
            response.headers["RateLimit"] = f'"burst";r={verdict.remaining};t={verdict.reset_s}'
        return response


def charge(request: Request, cost: int) -> None:
    """Take `cost` tokens more from the client that asks: for a view that learns from the body what it is asked.

    Raises:
        QuotaExceeded: they are not there, and none was taken.
    """
    assert isinstance(request.auth, Principal)
    verdict = _take(request._request, request.auth, cost)  # noqa: SLF001  (Django's, for which DRF has no public name)
    if not verdict.is_allowed:
        QUOTA_EXCEEDED.labels(request.auth.tier).inc()
        raise QuotaExceeded(retry_after_s=verdict.reset_s)


def cost_of(view: APIView, method: str) -> int:
    """Return what the view's operation costs before anything is known of its body."""
    costs: dict[str, int] = getattr(view, "quota_costs", {})
    return costs.get(operation_of(view, method), COST)


def _take(request: HttpRequest, principal: Principal, cost: int) -> Verdict:
    verdict = _limiter.take(principal.client_public_id, TIERS[principal.tier].quota, cost)
    request.quota = verdict  # type: ignore[attr-defined]  # ours to add
    return verdict


@cache
def _policy(quota: Quota) -> str:
    """Return both numbers of a quota as they read; of the two, the burst is what runs out first."""
    refilled_s = -(-quota.burst * 60 // quota.per_minute)
    return f'"burst";q={quota.burst};w={refilled_s}, "minute";q={quota.per_minute};w=60'
