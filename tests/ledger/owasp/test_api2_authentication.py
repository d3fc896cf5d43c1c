"""API2:2023, authentication: no operation takes anything but a live key or token, and each refusal says what it wants.

What is wrong with a token in every way that there is stands in test_tokens.py, guessing in test_guessing.py.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from typing import Any

import jwt

from config.runtime.clock import now
from ledger.clients.authentication import forget_keys
from ledger.clients.scopes import SCOPES, USER_SCOPES
from ledger.clients.services import create_key, revoke_key
from ledger.clients.tokens import HEADER, mint
from tests.ledger.backoffice import Staff
from tests.ledger.owasp.world import ask, send
from tests.ledger.routes import operations
from tests.people import Tenant

NOBODY = 'Bearer realm="countinghouse"'
INVALID = 'Bearer realm="countinghouse", error="invalid_token"'


def test_no_operation_takes_what_is_no_live_key_or_token(bank: Tenant) -> None:
    shown = credentials(bank)

    for name, credential in shown.items():
        for route in operations():
            answer = ask(bank, route, route.url, Authorization=credential)
            assert (answer.status_code, answer.get("WWW-Authenticate")) == (401, INVALID), (name, route)
            assert answer["Content-Type"] == "application/problem+json"


def test_no_operation_takes_a_key_from_its_address_or_a_cookie(bank: Tenant, staff: Staff) -> None:
    session = f"sessionid={staff.http.cookies['sessionid'].value}"

    for route in operations():
        for url, cookie in (
            (route.url, session),
            (route.url, f"Authorization={bank.key}"),
            (f"{route.url}?access_token={bank.key}", ""),
        ):
            answer = send(route.method, url, Cookie=cookie)
            assert (answer.status_code, answer.get("WWW-Authenticate")) == (401, NOBODY), url


def credentials(bank: Tenant) -> dict[str, str]:
    """Return what looks like a key or a token, each wrong in one way."""
    scopes: Any = SCOPES
    expired = create_key(client=bank.client, scopes=scopes, actor="test", expires_at=now() - timedelta(seconds=1))[1]
    row, revoked = create_key(client=bank.client, scopes=scopes, actor="test")
    orphan = mint(key=row, user_id="alice", scopes=USER_SCOPES, ttl_s=60, now=now())[0]
    late = mint(key=row, user_id="alice", scopes=USER_SCOPES, ttl_s=1, now=now() - timedelta(minutes=1))[0]
    revoke_key(key=row, actor="staff:root", reason="lost", now=now())
    forget_keys()
    head, secret = bank.key.rsplit("_", 1)
    claims = jwt.decode(orphan, options={"verify_signature": False})
    return {
        "another scheme": f"Basic {b64encode(bank.key.encode()).decode()}",
        "no scheme": bank.key,
        "garbage": "Bearer key",
        "another secret": f"Bearer {head}_{secret[::-1]}",
        "an expired key": f"Bearer {expired}",
        "a revoked key": f"Bearer {revoked}",
        "an expired token": f"Bearer {late}",
        "the token of a revoked key": f"Bearer {orphan}",
        "an unsigned token": f"Bearer {jwt.encode(claims, None, algorithm='none', headers=HEADER | {'alg': 'none'})}",
        "a token that somebody else signed": f"Bearer {jwt.encode(claims, 'x' * 32, headers=HEADER)}",
    }
