"""Reconciliations: compare a bank's statement with an account, look at what was found."""

from __future__ import annotations

from datetime import date
from typing import Annotated
from uuid import UUID

import msgspec
from drf_spectacular.utils import extend_schema
from msgspec import Meta
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.decoding import Body, decode
from config.api.filters import refuse_odd_parameters
from config.api.idempotency import HEADER, fingerprint, parse_key
from config.api.openapi import page_of as page_schema
from config.api.pages import PARAMETERS, Page, PageQuery, page_of
from config.api.principal import principal_of
from config.runtime.clock import now
from config.runtime.errors import Invalid
from config.runtime.logging import annotate, request_id
from ledger.api.v2.bodies import AccountText
from ledger.domain.reconciliations import (
    WINDOW_DAYS_DEFAULT,
    WINDOW_DAYS_MAX,
    BreakPage,
    ReconciliationDetailShape,
    ReconciliationShape,
)
from ledger.models import Reconciliation, ReconciliationBreak
from ledger.queries.comparisons import Dates
from ledger.queries.reconciliations import (
    break_shape,
    breaks_of,
    get_reconciliation,
    reconciliation_shape,
    reconciliations_of,
)
from ledger.services.idempotency import Claim
from ledger.services.reconciliations import OPERATION, Statement, reconcile_statement
from ledger.statements import BANKS, StatementMapping
from ledger.statements.formats import YEARS

MappingName = Annotated[str, Meta(min_length=1, max_length=64, description=f"A ready mapping: {', '.join(BANKS)}.")]


StatementDate = Annotated[date, Meta(description="A day that the statement covers, though it may have no line.")] | None


class ReconciliationIn(Body, frozen=True, kw_only=True):
    """A bank's statement of one account, to be compared with our entries of it."""

    account: AccountText
    mapping: MappingName | StatementMapping
    content: Annotated[str, Meta(min_length=1, description="The statement's CSV text, at most 10,000 lines.")]
    date_window_days: Annotated[
        int, Meta(ge=0, le=WINDOW_DAYS_MAX, description="How many days a line and its entry may be apart.")
    ] = WINDOW_DAYS_DEFAULT
    first_date: StatementDate = None
    last_date: StatementDate = None


class ReconciliationViewSet(ViewSet):
    """Reconciliations of the client that asks."""

    lookup_value_converter = "uuid"
    required_scopes = {
        "create": "reconciliations:write",
        "list": "reconciliations:read",
        "retrieve": "reconciliations:read",
    }
    quota_costs = {"create": 10}
    located = {"create": (201,)}
    paged = {"list", "retrieve"}
    uncounted = {"retrieve"}

    @extend_schema(
        operation_id="create_reconciliation",
        request=ReconciliationIn,
        responses={201: ReconciliationShape},
        summary="Compare a statement with an account",
    )
    def create(self, request: Request) -> Response:
        """Match each line with an entry, and keep what does not match; the books stay as they are.

        A line that names a receipt code or a transaction's reference belongs to it, whatever else is like it; others
        are matched by amount, and a date at most `date_window_days` away. Where several are equally near nothing is
        guessed: they are `ambiguous`. A line that does not fit the mapping refuses the whole statement.
        """
        refuse_odd_parameters(request.query_params, known=())
        key = parse_key(request.headers.get(HEADER), required=False)
        body = decode(request.data, ReconciliationIn)
        reconciled = reconcile_statement(
            client_id=principal_of(request).client_id,
            statement=_statement(body),
            actor=principal_of(request).actor,
            request_id=request_id(),
            now=now(),
            claim=None if key is None else Claim(key, OPERATION, fingerprint(OPERATION, request.data)),
        )
        shape = reconciled.reconciliation
        annotate(reconciliation_id=str(shape.id), lines=shape.counts.total.lines, replayed=reconciled.replayed)
        headers = {"Location": f"/v2/reconciliations/{shape.id}"}
        if reconciled.replayed:
            headers["Idempotent-Replayed"] = "true"
        return Response(shape, status=201, headers=headers)

    @extend_schema(
        operation_id="list_reconciliations",
        responses=page_schema(ReconciliationShape),
        summary="List reconciliations, newest first",
    )
    def list(self, request: Request) -> Response:
        refuse_odd_parameters(request.query_params, known=PARAMETERS)
        page: Page[Reconciliation] = page_of(reconciliations_of(principal_of(request).client_id), PageQuery.of(request))
        return Response(page.answer(reconciliation_shape))

    @extend_schema(
        operation_id="get_reconciliation",
        responses=ReconciliationDetailShape,
        summary="Look at a reconciliation and its breaks",
    )
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """Answer the reconciliation with a page of its breaks; `breaks.next_cursor` leads to the next."""
        refuse_odd_parameters(request.query_params, known=PARAMETERS - {"count"})
        row = get_reconciliation(principal_of(request).client_id, pk)
        page: Page[ReconciliationBreak] = page_of(
            breaks_of(row), PageQuery.of(request), field="index", descending=False
        )
        return Response(
            ReconciliationDetailShape(
                **msgspec.structs.asdict(reconciliation_shape(row)), breaks=BreakPage(**page.answer(break_shape))
            )
        )


def _statement(body: ReconciliationIn) -> Statement:
    for name, on in (("first_date", body.first_date), ("last_date", body.last_date)):
        if on is not None and on.year not in YEARS:
            raise Invalid.at(f"/{name}", "field_range", "A day of the years 1900 to 2199.")
    dates = Dates(first=body.first_date, last=body.last_date, window_days=body.date_window_days)
    return Statement(account=body.account, mapping=body.mapping, content=body.content, dates=dates)
