"""API keys: a client makes them, has them replaced and ends them, with a key that may."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from msgspec import Meta
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.answers import answer, posted
from config.api.decoding import Body, decode
from config.api.filters import refuse_odd_parameters
from config.api.openapi import page_of as page_schema
from config.api.pages import PARAMETERS, Page, PageQuery, page_of
from config.api.principal import principal_of
from config.runtime.clock import now
from config.runtime.logging import annotate, request_id
from ledger.api.v2.claims import claim_of
from ledger.clients.models import KEY_LABEL_LENGTH_MAX, ApiKey
from ledger.clients.scopes import SCOPES
from ledger.clients.services import NETWORKS_MAX, OVERLAP, OVERLAP_MAX
from ledger.domain.keys import KEY_ID, KeyShape, NewKeyShape
from ledger.queries.keys import get_key, key_shape, keys_of
from ledger.services.keys import ISSUE, REVOKE, ROTATE, By, Issued, issue_key, revoke_own_key, rotate_own_key

SECRET = {"Cache-Control": "no-store"}
OVERLAP_S, OVERLAP_S_MAX = (int(one.total_seconds()) for one in (OVERLAP, OVERLAP_MAX))
ID = OpenApiParameter("id", {"type": "string", "pattern": f"^{KEY_ID.pattern}$"}, OpenApiParameter.PATH)

if TYPE_CHECKING:
    Scope = str
else:
    Scope = Literal[tuple(SCOPES)]

ReasonText = Annotated[str, Meta(max_length=500, description="It stands in the audit trail.")]
B = TypeVar("B", bound=Body)


class KeyIn(Body, frozen=True, kw_only=True):
    """A key to make; where nothing is said of networks and end, it has those of the key that asks."""

    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=len(SCOPES))]
    label: Annotated[str, Meta(max_length=KEY_LABEL_LENGTH_MAX)] = ""
    networks: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=43)]],
        Meta(max_length=NETWORKS_MAX, description="Address ranges from which it is taken, such as 203.0.113.0/24."),
    ] = []
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class RotationIn(Body, frozen=True, kw_only=True):
    """How long both keys are taken, and why the key is replaced."""

    overlap_s: Annotated[int, Meta(ge=0, le=OVERLAP_S_MAX)] = OVERLAP_S
    reason: ReasonText = ""


class RevocationIn(Body, frozen=True, kw_only=True):
    """Why a key ends."""

    reason: ReasonText = ""


class KeyViewSet(ViewSet):
    """Keys of the client that asks."""

    required_scopes = {
        "list": "keys:read",
        "retrieve": "keys:read",
        "create": "keys:write",
        "rotate": "keys:write",
        "revoke": "keys:write",
    }
    located = {"create": (201,), "rotate": (201,)}
    paged = {"list"}

    @extend_schema(
        operation_id="list_keys", responses=page_schema(KeyShape), summary="List keys, those that have ended too"
    )
    def list(self, request: Request) -> Response:
        refuse_odd_parameters(request.query_params, known=PARAMETERS)
        scope, at = keys_of(principal_of(request).client_id), now()
        page: Page[ApiKey] = page_of(scope, PageQuery.of(request), field="key_id", descending=False)
        return Response(page.answer(lambda key: key_shape(key, now=at)))

    @extend_schema(operation_id="get_key", parameters=[ID], responses=KeyShape, summary="Look at a key")
    def retrieve(self, request: Request, pk: str) -> Response:
        refuse_odd_parameters(request.query_params, known=())
        return Response(key_shape(get_key(principal_of(request).client_id, pk), now=now()))

    @extend_schema(operation_id="create_key", request=KeyIn, responses={201: NewKeyShape}, summary="Make a key")
    def create(self, request: Request) -> HttpResponse:
        """Make a key that may do no more than the one that asks, from no other address and no longer.

        Its text is in this answer and kept nowhere. If the answer got lost, revoke the key and make another.
        """
        body, by = _asked(request, ISSUE, request.data, KeyIn)
        issued = issue_key(
            by=by, scopes=body.scopes, label=body.label, networks=body.networks, expires_at=body.expires_at
        )
        return _issued(issued, by)

    @extend_schema(
        operation_id="rotate_key",
        parameters=[ID],
        request=RotationIn,
        responses={201: NewKeyShape},
        summary="Replace a key",
    )
    def rotate(self, request: Request, pk: str) -> HttpResponse:
        """Make a key that may do the same, and have this one expire after `overlap_s`, by default a day.

        A key may always replace itself. The new one expires when this one would have.
        """
        body, by = _asked(request, ROTATE, [pk, request.data], RotationIn)
        overlap = timedelta(seconds=body.overlap_s)
        return _issued(rotate_own_key(by=by, key_id=pk, overlap=overlap, reason=body.reason), by)

    @extend_schema(
        operation_id="revoke_key", parameters=[ID], request=RevocationIn, responses=KeyShape, summary="Revoke a key"
    )
    def revoke(self, request: Request, pk: str) -> Response:
        """End a key and the tokens that it has minted, within a second; one that has ended stays as it is."""
        body, by = _asked(request, REVOKE, [pk, request.data], RevocationIn)
        revoked = revoke_own_key(by=by, key_id=pk, reason=body.reason)
        headers = {"Idempotent-Replayed": "true"} if revoked.replayed else {}
        return Response(key_shape(revoked.key, now=by.now), headers=headers)


def _asked(request: Request, operation: str, asked: object, into: type[B]) -> tuple[B, By]:
    refuse_odd_parameters(request.query_params, known=())
    claim, body = claim_of(request, operation, asked), decode(request.data, into)
    principal = principal_of(request)
    return body, By(
        client_id=principal.client_id,
        key_id=principal.key_id,
        actor=principal.actor,
        request_id=request_id(),
        now=now(),
        claim=claim,
    )


def _issued(issued: Issued, by: By) -> HttpResponse:
    annotate(made_key=issued.key.pk, replayed=issued.replayed)
    shape = msgspec.structs.asdict(key_shape(issued.key, now=by.now))
    headers = posted(f"/v2/keys/{issued.key.pk}", replayed=issued.replayed) | SECRET
    return answer(NewKeyShape(**shape, key=issued.text), status=201, headers=headers)
