"""An account's statement, in the form that the client accepts."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.http import HttpResponse, QueryDict
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from config.api.filters import MomentField, ParametersRefused, refuse_odd_parameters
from config.runtime.errors import FieldError
from ledger.api.reach import reach_of
from ledger.api.v2.statement_forms import FORMS
from ledger.domain.account_statements import AccountStatementShape
from ledger.queries.account_statements import account_statement

RANGE = ("from", "to")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class _BoundField(MomentField):
    """A time with offset, or a date: its first moment in UTC."""

    openapi: ClassVar[dict[str, Any]] = {"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]}
    expected = "A date, or a time with offset such as 2026-11-21T06:44:00Z."

    def to_python(self, value: str | None) -> datetime | None:
        return super().to_python(f"{value}T00:00:00Z" if value and _DATE.fullmatch(value) else value)


class AccountStatementViewSet(ViewSet):
    """Statements of the accounts of who asks."""

    lookup_value_converter = "uuid"
    required_scopes = {"retrieve": "accounts:read"}
    quota_costs = {"retrieve": 5}
    refused = {"retrieve": (422,)}
    renderer_classes = FORMS
    open_to_users = {"retrieve"}

    @extend_schema(
        operation_id="get_account_statement",
        parameters=[
            OpenApiParameter(
                "from", _BoundField.openapi, description="Booked at or after it; without: all until `to`."
            ),
            OpenApiParameter(
                "to", _BoundField.openapi, description="Booked before it, no later than now; without: now."
            ),
        ],
        responses={
            (200, "application/json"): AccountStatementShape,
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "RFC 4180, in UTF-8: one row for each line."),
            (200, "application/xml"): OpenApiResponse(OpenApiTypes.STR, "ISO 20022, camt.053.001.08."),
        },
        summary="An account's statement: opening balance, lines, closing balance",
    )
    def retrieve(self, request: Request, pk: UUID) -> HttpResponse:
        """Tell what was booked from `from` on and before `to`, in the form that `Accept` asks for.

        A date is its first moment in UTC: `from=2026-07-01&to=2026-08-01` is July. Statements whose ranges meet fit
        together without a gap, and one that was given does not change any more.
        """
        since, until = _range(request.query_params)
        row = reach_of(request).account(pk)
        statement = account_statement(row, since=since, until=until)
        form = request.accepted_renderer
        content_type = f"{form.media_type}; charset={form.charset}" if form.charset else form.media_type
        # Rendered here, since a form may refuse what it has no room for.
        return HttpResponse(form.render(statement), content_type=content_type)


def _range(parameters: QueryDict) -> tuple[datetime | None, datetime | None]:
    refuse_odd_parameters(parameters, known=RANGE)
    bounds: list[datetime | None] = []
    errors: list[FieldError] = []
    for name in RANGE:
        try:
            bounds.append(_BoundField(required=False).clean(parameters.get(name)))
        except ValidationError as error:
            errors.append(FieldError(name, "parameter_invalid", error.messages[0]))
    if errors:
        raise ParametersRefused(errors=tuple(errors))
    since, until = bounds
    return since, until
