"""Tokens of end users: JWTs that a key mints for minutes, read with everything pinned (RFC 8725)."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
from django.conf import settings

from ledger.clients.errors import TokenExpired, TokenInvalid, TokenScopesRefused
from ledger.clients.models import ApiKey
from ledger.clients.scopes import USER_SCOPES

ALGORITHM = "HS256"
# All of it: a header that names a key, or where to find one, or an extension, is not ours.
HEADER = {"alg": ALGORITHM, "typ": "at+jwt"}
AUDIENCE = "countinghouse"
CLAIMS = ["iss", "aud", "sub", "iat", "exp", "key", "scope"]
TTL_S = 300
TTL_S_MAX = 900
TOKEN_LENGTH_MAX = 2048


@dataclass(frozen=True, slots=True)
class UserToken:
    """What a token says: whose it is, which key minted it, what it may do, until when."""

    key_id: str
    user_id: str
    scopes: frozenset[str]
    expires_at: datetime


def grantable(asked: Iterable[str] | None, key_scopes: Iterable[str]) -> frozenset[str]:
    """Return the scopes of a token: those that are asked for, or all that it may hold.

    Raises:
        TokenScopesRefused: one is not for end users, or its key does not hold it; or none is left.
    """
    possible = USER_SCOPES.intersection(key_scopes)
    scopes = possible if asked is None else frozenset(asked)
    if not scopes or not scopes <= possible:
        raise TokenScopesRefused(f"Possible are: {', '.join(sorted(possible)) or 'none'}.")
    return scopes


def mint(*, key: ApiKey, user_id: str, scopes: Iterable[str], ttl_s: int, now: datetime) -> tuple[str, datetime]:
    """Return a token and when it expires: after `ttl_s`, or with its key if that is sooner."""
    until = now + timedelta(seconds=ttl_s)
    expires_at = int(min(until, key.expires_at or until).timestamp())
    claims = {
        "iss": settings.TOKEN_ISSUER,
        "aud": AUDIENCE,
        "sub": user_id,
        "iat": int(now.timestamp()),
        "exp": expires_at,
        "key": key.pk,
        "scope": " ".join(sorted(scopes)),
    }
    text = jwt.encode(claims, _secrets(settings.SECRET_KEY)[0], algorithm=ALGORITHM, headers={"typ": HEADER["typ"]})
    return text, datetime.fromtimestamp(expires_at, UTC)


def read(text: str) -> UserToken:
    """Return what a token says that this installation has signed, whoever shows it.

    Raises:
        TokenInvalid: somebody else signed it, or it is changed, or for another purpose.
        TokenExpired: its time is over.
    """
    if len(text) > TOKEN_LENGTH_MAX:
        raise TokenInvalid
    for secret in _secrets(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        try:
            found = _decoded(text, secret)
        except jwt.InvalidSignatureError:
            continue  # it may have been signed before the secret was changed
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired from error
        except jwt.PyJWTError as error:
            raise TokenInvalid from error
        if found["header"] != HEADER:
            raise TokenInvalid
        return _said(found["payload"])
    raise TokenInvalid


def _decoded(text: str, secret: bytes) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode_complete(
        text,
        secret,
        algorithms=[ALGORITHM],
        issuer=settings.TOKEN_ISSUER,
        audience=AUDIENCE,
        # Another machine's clock may be ahead of ours: a token from the future ends no later for that.
        options={"require": CLAIMS, "strict_aud": True, "verify_iat": False},
    )
    return found


def _said(claims: dict[str, Any]) -> UserToken:
    return UserToken(
        key_id=claims["key"],
        user_id=claims["sub"],
        scopes=frozenset(claims["scope"].split()),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
    )


@cache
def _secrets(*secrets: str) -> tuple[bytes, ...]:
    """Return 32 bytes of each secret, which sign nothing else."""
    return tuple(hmac.digest(secret.encode(), b"ledger.clients.tokens", "sha256") for secret in secrets)
