"""Who is asking."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from msgspec import Struct
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.api.addresses import client_address
from config.api.filters import refuse_odd_parameters
from config.api.openapi import whole
from config.api.permissions import AUTHENTICATED
from config.api.principal import caller_of
from config.runtime.clock import MomentText, rfc3339
from ledger.queries.keys import get_key


class MeClientShape(Struct, frozen=True, kw_only=True):
    """The client, and what follows from its tier."""

    id: UUID
    name: str
    tier: str


class MeShape(Struct, frozen=True, kw_only=True):
    """Who asks: with the key `key_id` of a client, or for `user_id` with a token that this key has minted.

    `expires_at` is when that key or token ends. `address` is where the request came from, as the service sees it.
    """

    client: MeClientShape
    key_id: str
    label: str
    user_id: str | None
    scopes: list[str]
    networks: list[str]
    expires_at: MomentText | None
    address: str


class MeView(APIView):
    """Who is asking, whatever the scopes."""

    required_scopes = {"GET": AUTHENTICATED}
    open_to_users = {"GET"}

    @extend_schema(operation_id="get_me", responses=whole(MeShape), summary="See who is asking")
    def get(self, request: Request) -> Response:
        refuse_odd_parameters(request.query_params, known=())
        caller = caller_of(request)
        key = get_key(caller.client_id, caller.key_id)
        return Response(
            MeShape(
                client=MeClientShape(id=caller.client_public_id, name=caller.client_name, tier=caller.tier),
                key_id=caller.key_id,
                label=key.label if caller.user_id is None else "",
                user_id=caller.user_id,
                scopes=sorted(caller.scopes),
                networks=key.networks if caller.user_id is None else [],
                expires_at=rfc3339(caller.expires_at) if caller.expires_at else None,
                address=client_address(request),
            )
        )
