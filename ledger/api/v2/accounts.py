"""Accounts: open, list, look at, their balance and their entries."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from django.core.exceptions import ValidationError
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.answers import posted
from config.api.decoding import decode
from config.api.filters import MomentField, ParametersRefused, refuse_odd_parameters
from config.api.openapi import page_of as page_schema
from config.api.pages import PARAMETERS, Page, PageQuery, page_of
from config.api.principal import principal_of
from config.runtime.clock import now
from config.runtime.errors import FieldError
from ledger.api.v2.bodies import AccountIn, LimitText, check_metadata
from ledger.api.v2.claims import claim_of
from ledger.api.v2.filters import AccountFilters
from ledger.domain.shapes import AccountShape, BalanceAtShape, EntryShape
from ledger.models import Entry
from ledger.queries.accounts import account_shape, accounts_of, balance_at, get_account
from ledger.queries.transactions import entries_of, entry_shape
from ledger.services.accounts import DEFAULT, OPERATION, Opening, open_account


class AccountViewSet(ViewSet):
    """Accounts of the client that asks."""

    lookup_value_converter = "uuid"
    required_scopes = {
        "create": "accounts:write",
        "list": "accounts:read",
        "retrieve": "accounts:read",
        "balance": "accounts:read",
        "entries": "accounts:read",
    }
    paged = {"list", "entries"}
    unfiltered = {"entries"}
    filterset_class = AccountFilters

    @extend_schema(request=AccountIn, responses={201: AccountShape}, summary="Open an account")
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

    @extend_schema(responses=page_schema(AccountShape), summary="List accounts, newest first")
    def list(self, request: Request) -> Response:
        filters = AccountFilters.read(request.query_params)
        client_id, chosen = principal_of(request).client_id, filters.data
        scope = accounts_of(client_id, path=chosen.get("path"), user_id=chosen.get("user_id"))
        page = page_of(
            scope, PageQuery.of(request, filters=filters.canonical), narrow=filters.narrow, field="public_id"
        )
        return Response(page.answer(lambda account: account_shape(account.balance)))

    @extend_schema(responses=AccountShape, summary="Look at an account")
    def retrieve(self, request: Request, pk: UUID) -> Response:
        refuse_odd_parameters(request.query_params, known=())
        return Response(account_shape(get_account(principal_of(request).client_id, pk)))

    @extend_schema(
        parameters=[OpenApiParameter("at", datetime, description="As booked at this moment; without: now.")],
        responses=BalanceAtShape,
        summary="An account's balance, now or as booked at a moment",
    )
    def balance(self, request: Request, pk: UUID) -> Response:
        refuse_odd_parameters(request.query_params, known=("at",))
        at = _moment(request.query_params.get("at"))
        return Response(balance_at(get_account(principal_of(request).client_id, pk), at, now=now()))

    @extend_schema(responses=page_schema(EntryShape), summary="An account's entries, newest first")
    def entries(self, request: Request, pk: UUID) -> Response:
        refuse_odd_parameters(request.query_params, known=PARAMETERS)
        account = get_account(principal_of(request).client_id, pk).account
        page: Page[Entry] = page_of(entries_of(account), PageQuery.of(request), field="account_version")
        return Response(page.answer(lambda row: entry_shape(row, account)))


def _limit(given: LimitText) -> str | None:
    return DEFAULT if given is msgspec.UNSET else given


def _moment(text: str | None) -> datetime | None:
    try:
        moment: datetime | None = MomentField(required=False).clean(text)
    except ValidationError as error:
        raise ParametersRefused(errors=(FieldError("at", "parameter_invalid", error.messages[0]),)) from error
    return moment
