"""What is done to an account: freeze, unfreeze, close, reopen, limits; and what was done to it, and why."""

from __future__ import annotations

from typing import TypeVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.conditional import condition_of, etag_of
from config.api.decoding import decode
from config.api.filters import refuse_odd_parameters
from config.api.openapi import page_of as page_schema
from config.api.pages import PARAMETERS, PageQuery, page_of
from config.api.principal import principal_of
from config.runtime.logging import request_id
from ledger.api.v2.bodies import ChangeIn, LimitsIn, SidesIn
from ledger.api.v2.claims import claim_of
from ledger.domain.accounts import Frozen
from ledger.domain.shapes import AccountChangeShape, AccountShape
from ledger.queries.accounts import change_shape, changes_of, get_account
from ledger.services.account_changes import (
    CLOSE,
    FREEZE,
    LIMITS,
    REOPEN,
    UNFREEZE,
    Asked,
    Changed,
    change_limits,
    close_account,
    freeze_account,
    reopen_account,
    unfreeze_account,
)

B = TypeVar("B", bound=ChangeIn)


class AccountChangeViewSet(ViewSet):
    """Changes of accounts of the client that asks. A change that was made already is refused by its own name."""

    lookup_value_converter = "uuid"
    required_scopes = {
        "freeze": "accounts:write",
        "unfreeze": "accounts:write",
        "close": "accounts:write",
        "reopen": "accounts:write",
        "limits": "accounts:write",
        "history": "accounts:read",
    }
    conditional = {"freeze", "unfreeze", "close", "reopen", "limits"}
    paged = {"history"}

    @extend_schema(operation_id="freeze_account", request=SidesIn, responses=AccountShape, summary="Freeze an account")
    def freeze(self, request: Request, pk: UUID) -> Response:
        """Refuse debits, credits or both from the next booking on; what is frozen already stays so."""
        body, asked = _asked(request, pk, FREEZE, SidesIn)
        return _answer(freeze_account(sides=Frozen(body.sides), **asked))

    @extend_schema(
        operation_id="unfreeze_account", request=SidesIn, responses=AccountShape, summary="Unfreeze an account"
    )
    def unfreeze(self, request: Request, pk: UUID) -> Response:
        """Take debits, credits or both again from the next booking on."""
        body, asked = _asked(request, pk, UNFREEZE, SidesIn)
        return _answer(unfreeze_account(sides=Frozen(body.sides), **asked))

    @extend_schema(operation_id="close_account", request=ChangeIn, responses=AccountShape, summary="Close an account")
    def close(self, request: Request, pk: UUID) -> Response:
        """Take an account out of use that stands at zero and has no holds."""
        _, asked = _asked(request, pk, CLOSE, ChangeIn)
        return _answer(close_account(**asked))

    @extend_schema(operation_id="reopen_account", request=ChangeIn, responses=AccountShape, summary="Reopen an account")
    def reopen(self, request: Request, pk: UUID) -> Response:
        """Take a closed account into use again, with the limits and the freeze that it had."""
        _, asked = _asked(request, pk, REOPEN, ChangeIn)
        return _answer(reopen_account(**asked))

    @extend_schema(
        operation_id="change_account_limits",
        request=LimitsIn,
        responses=AccountShape,
        summary="Change the limits of an account",
    )
    def limits(self, request: Request, pk: UUID) -> Response:
        """Set the floor, the ceiling or both; null takes a limit away. What is on the account must keep within them."""
        body, asked = _asked(request, pk, LIMITS, LimitsIn)
        return _answer(change_limits(floor=body.floor, ceiling=body.ceiling, **asked))

    @extend_schema(
        operation_id="list_account_changes",
        responses=page_schema(AccountChangeShape),
        summary="The changes of an account, newest first",
    )
    def history(self, request: Request, pk: UUID) -> Response:
        refuse_odd_parameters(request.query_params, known=PARAMETERS)
        account = get_account(principal_of(request).client_id, pk).account
        return Response(page_of(changes_of(account), PageQuery.of(request)).answer(change_shape))


def _asked(request: Request, pk: UUID, operation: str, into: type[B]) -> tuple[B, Asked]:
    refuse_odd_parameters(request.query_params, known=())
    claim = claim_of(request, operation, [str(pk), request.data])
    body = decode(request.data, into)
    principal = principal_of(request)
    return body, {
        "client_id": principal.client_id,
        "account_id": pk,
        "actor": principal.actor,
        "reason": body.reason,
        "request_id": request_id(),
        "claim": claim,
        "condition": condition_of(request),
    }


def _answer(changed: Changed) -> Response:
    headers = {"Content-Location": f"/v2/accounts/{changed.account.id}", "ETag": etag_of(changed.account)}
    if changed.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(changed.account, headers=headers)
