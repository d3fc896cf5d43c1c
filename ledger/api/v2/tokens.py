"""Tokens with which end users see what is theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from config.api.answers import answer
from config.api.decoding import Body, decode
from config.api.filters import refuse_odd_parameters
from config.api.idempotency import HEADER, parse_key
from config.api.principal import principal_of
from config.runtime.clock import MomentText, now, rfc3339
from ledger.api.v2.bodies import UserIdText
from ledger.api.v2.keys import SECRET
from ledger.clients.scopes import USER_SCOPES
from ledger.clients.tokens import TTL_S, TTL_S_MAX, grantable, mint
from ledger.queries.keys import get_key

if TYPE_CHECKING:
    UserScope = str
else:
    UserScope = Literal[tuple(sorted(USER_SCOPES))]


class TokenIn(Body, frozen=True, kw_only=True):
    """Whose token it is; without `scopes` it holds all that a user's may and its key holds."""

    user_id: UserIdText
    ttl_s: Annotated[int, Meta(ge=1, le=TTL_S_MAX, description="Seconds until it expires.")] = TTL_S
    scopes: Annotated[list[UserScope], Meta(min_length=1, max_length=len(USER_SCOPES))] | None = None


class TokenShape(Struct, frozen=True, kw_only=True):
    """A token, to be sent as `Authorization: Bearer …`; it ends earlier with the key that minted it."""

    token: str
    token_type: Literal["Bearer"]
    user_id: str
    scopes: list[str]
    expires_at: MomentText


class TokenViewSet(ViewSet):
    """Tokens of the users of the client that asks."""

    required_scopes = {"create": "tokens:write"}
    located = {"create": ()}  # nothing is kept of it

    @extend_schema(
        operation_id="create_token",
        request=TokenIn,
        responses={201: TokenShape},
        summary="Mint a token for an end user",
    )
    def create(self, request: Request) -> HttpResponse:
        """Answer a token that sees the accounts of `user_id` and what moved on them, and nothing else.

        It reads only. Nothing is kept of it; a repeated request mints another.
        """
        refuse_odd_parameters(request.query_params, known=())
        parse_key(request.headers.get(HEADER), required=False)
        body, asking = decode(request.data, TokenIn), principal_of(request)
        key = get_key(asking.client_id, asking.key_id)
        scopes = grantable(body.scopes, key.scopes)
        text, expires_at = mint(key=key, user_id=body.user_id, scopes=scopes, ttl_s=body.ttl_s, now=now())
        shape = TokenShape(
            token=text,
            token_type="Bearer",  # noqa: S106  (the scheme's name)
            user_id=body.user_id,
            scopes=sorted(scopes),
            expires_at=rfc3339(expires_at),
        )
        return answer(shape, status=201, headers=SECRET)
