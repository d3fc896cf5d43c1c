"""Accounts: open, list, look at, their balance and their entries."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.answers import posted
from config.api.decoding import decode
from config.api.filters import parse_moment, refuse_odd_parameters
from config.api.openapi import page_of as page_schema
from config.api.pages import PARAMETERS, Page, PageQuery, page_of
from config.api.principal import principal_of
from config.runtime.clock import now
from ledger.api.reach import reach_of
from ledger.api.v2.bodies import AccountIn, LimitText, check_metadata
from ledger.api.v2.claims import claim_of
from ledger.domain.shapes import AccountShape, BalanceAtShape, EntryShape
from ledger.filters import AccountFilters
from ledger.models import Entry
from ledger.queries.accounts import account_shape
from ledger.queries.balances import balance_at
from ledger.queries.transactions import entries_of, entry_shape
from ledger.services.accounts import DEFAULT, OPERATION, Opening, open_account


class AccountViewSet(ViewSet):
    """Accounts of who asks."""

    lookup_value_converter = "uuid"
    required_scopes = {
        "create": "accounts:write",
        "list": "accounts:read",
        "retrieve": "accounts:read",
        "balance": "accounts:read",
        "entries": "accounts:read",
    }
    open_to_users = {"list", "retrieve", "balance", "entries"}
    located = {"create": (201,)}
    refused = {"balance": (422,)}
    paged = {"list", "entries"}
    unfiltered = {"entries"}
    filterset_class = AccountFilters

    @extend_schema(
        operation_id="create_account", request=AccountIn, responses={201: AccountShape}, summary="Open an account"
    )
    def create(self, request: Request) -> Response:
        refuse_odd_parameters(request.query_params, known=())
        claim = claim_of(request, OPERATION, request.data)
        body = decode(request.data, AccountIn)
        check_metadata(body.metadata)
        opened = open_account(
            client_id=principal_of(request).client_id,
            opening=Opening(
                path=body.path,
                currency=body.currency,
                kind=body.kind,
                user_id=body.user_id,
                floor=_limit(body.floor),
                ceiling=_limit(body.ceiling),
                metadata=body.metadata,
            ),
            claim=claim,
        )
        headers = posted(f"/v2/accounts/{opened.account.id}", replayed=opened.replayed)
        return Response(opened.account, status=201, headers=headers)

    @extend_schema(operation_id="list_accounts", responses=page_schema(AccountShape), summary="List accounts")
    def list(self, request: Request) -> Response:
        """List accounts, newest first; with `path_prefix` those of a part of the chart, in the order of their paths."""
        filters = AccountFilters.read(request.query_params)
        page = page_of(
            filters.scopes(reach_of(request)),
            PageQuery.of(request, filters=filters.canonical),
            narrow=filters.narrow,
            **filters.order,
        )
        return Response(page.answer(lambda account: account_shape(account.balance)))

    @extend_schema(operation_id="get_account", responses=AccountShape, summary="Look at an account")
    def retrieve(self, request: Request, pk: UUID) -> Response:
        refuse_odd_parameters(request.query_params, known=())
        return Response(account_shape(reach_of(request).account(pk)))

    @extend_schema(
        operation_id="get_account_balance",
        parameters=[
            OpenApiParameter("at", datetime, description="As booked at this moment; without: now."),
            OpenApiParameter("effective_at", datetime, description="Of that, what took effect by this moment."),
        ],
        responses=BalanceAtShape,
        summary="An account's balance, now or as it was booked or took effect",
    )
    def balance(self, request: Request, pk: UUID) -> Response:
        """Answer what was booked by `at` and took effect by `effective_at`: what was known then of how it stood."""
        parameters = request.query_params
        refuse_odd_parameters(parameters, known=("at", "effective_at"))
        at, effective_at = parse_moment(parameters, "at"), parse_moment(parameters, "effective_at")
        row = reach_of(request).account(pk)
        return Response(balance_at(row, at, effective_at=effective_at, now=now()))

    @extend_schema(
        operation_id="list_account_entries",
        responses=page_schema(EntryShape),
        summary="An account's entries, newest first",
    )
    def entries(self, request: Request, pk: UUID) -> Response:
        refuse_odd_parameters(request.query_params, known=PARAMETERS)
        account = reach_of(request).account(pk).account
        page: Page[Entry] = page_of(entries_of(account), PageQuery.of(request), field="account_version")
        return Response(page.answer(lambda row: entry_shape(row, account)))


def _limit(given: LimitText) -> str | None:
    return DEFAULT if given is msgspec.UNSET else given
