"""Whether the books balance, and how they stand or stood."""

from __future__ import annotations

from datetime import datetime

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.filters import parse_moment, refuse_odd_parameters
from config.api.principal import principal_of
from config.runtime.clock import now
from ledger.domain.shapes import TrialBalanceShape
from ledger.queries.balances import trial_balance


class TrialBalanceViewSet(ViewSet):
    """All accounts of the client that asks."""

    required_scopes = {"retrieve": "accounts:read"}
    quota_costs = {"retrieve": 5}
    refused = {"retrieve": (422,)}

    @extend_schema(
        operation_id="get_trial_balance",
        parameters=[OpenApiParameter("at", datetime, description="As booked at this moment; without: now.")],
        responses=TrialBalanceShape,
        summary="The trial balance, now or as booked at a moment",
    )
    def retrieve(self, request: Request) -> Response:
        """Add up what all accounts stand at, per currency and kind: debit balances and credit balances."""
        refuse_odd_parameters(request.query_params, known=("at",))
        at = parse_moment(request.query_params, "at")
        return Response(trial_balance(principal_of(request).client_id, at, now=now()))
