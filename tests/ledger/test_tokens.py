"""Tokens of end users: which are taken, and which are not, whoever made them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from django.conf import settings as configured

from config.runtime.clock import now
from ledger.clients import tokens
from ledger.clients.authentication import forget_keys
from ledger.clients.models import ApiKey
from ledger.clients.scopes import SCOPES, USER_SCOPES
from ledger.clients.services import create_key, revoke_key
from ledger.clients.tokens import ALGORITHM, AUDIENCE, TTL_S_MAX, mint
from tests.people import Tenant

READS = sorted(USER_SCOPES)


def key_of(tenant: Tenant) -> ApiKey:
    return ApiKey.objects.get(pk=tenant.key.split("_")[1])


def secret(key: str = "") -> bytes:
    return tokens._secrets(key or configured.SECRET_KEY)[0]


def claims(bank: Tenant, **other: Any) -> dict[str, Any]:
    """What a token of alice's says; a claim that is None is left out."""
    said = {
        "iss": configured.TOKEN_ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "iat": int(time.time()),
        "exp": int(time.time()) + 300,
        "key": key_of(bank).pk,
        "scope": " ".join(READS),
    }
    return {name: value for name, value in (said | other).items() if value is not None}


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed(header: Any, payload: Any, *, by: bytes | None = None, digest: str = "sha256") -> str:
    """Sign whatever is given, as a program of mallory's would, but with our own secret."""
    text = f"{part(header)}.{part(payload)}"
    signature = hmac.new(secret() if by is None else by, text.encode(), digest).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def told(bank: Tenant, token: str) -> tuple[int, str]:
    address = f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}::1"
    answer = Tenant(bank.client, token).http().get("/v2/me", REMOTE_ADDR=address)
    document = answer.json()
    return answer.status_code, document.get("code", document.get("user_id"))


def test_a_token_is_minted_for_five_minutes_with_all_that_a_user_may(bank: Tenant) -> None:
    before = int(time.time())
    answer = bank.post("/v2/tokens", {"user_id": "alice"})

    assert (answer.status_code, answer["Cache-Control"]) == (201, "no-store")
    shape = answer.json()
    assert (shape["token_type"], shape["user_id"], shape["scopes"]) == ("Bearer", "alice", READS)
    lasts = datetime.fromisoformat(shape["expires_at"]).timestamp() - before
    assert 300 <= lasts <= 302
    assert jwt.get_unverified_header(shape["token"]) == {"alg": "HS256", "typ": "at+jwt"}
    assert told(bank, shape["token"]) == (200, "alice")


def test_what_a_program_of_another_makes_as_we_do_is_taken(bank: Tenant) -> None:
    """What the attacks below begin with: each changes one thing of a token that is good."""
    assert told(bank, signed({"alg": "HS256", "typ": "at+jwt"}, claims(bank))) == (200, "alice")


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "at+jwt"},
        {"alg": "None", "typ": "at+jwt"},
        {"alg": "HS384", "typ": "at+jwt"},
        {"alg": "RS256", "typ": "at+jwt"},
        {"alg": "ES256", "typ": "at+jwt"},
        {"alg": ["HS256"], "typ": "at+jwt"},
        {"alg": "HS256"},
        {"alg": "HS256", "typ": "JWT"},
        {"typ": "at+jwt"},
        {"alg": "HS256", "typ": "at+jwt", "kid": "1"},
        {"alg": "HS256", "typ": "at+jwt", "kid": "../../dev/null"},
        {"alg": "HS256", "typ": "at+jwt", "kid": "' UNION SELECT 'secret"},
        {"alg": "HS256", "typ": "at+jwt", "kid": 7},
        {"alg": "HS256", "typ": "at+jwt", "jku": "https://mallory.example/keys"},
        {"alg": "HS256", "typ": "at+jwt", "jwk": {"kty": "oct", "k": "AA"}},
        {"alg": "HS256", "typ": "at+jwt", "x5u": "https://mallory.example/cert"},
        {"alg": "HS256", "typ": "at+jwt", "crit": ["exp"]},
        {"alg": "HS256", "typ": "at+jwt", "b64": False, "crit": ["b64"]},
        {"alg": "HS256", "typ": "at+jwt", "zip": "DEF"},
        [],
        "HS256",
        None,
    ],
    ids=str,
)
def test_a_header_that_is_not_ours_to_the_letter_is_refused(bank: Tenant, header: Any) -> None:
    assert told(bank, signed(header, claims(bank))) == (401, "token_invalid")
    unsigned = f"{part(header)}.{part(claims(bank))}."
    assert told(bank, unsigned) == (401, "token_invalid")


@pytest.mark.parametrize(
    "other",
    [
        {"iss": "somebody else"},
        {"iss": None},
        {"iss": [configured.TOKEN_ISSUER]},
        {"aud": "webhooks"},
        {"aud": [AUDIENCE]},
        {"aud": [AUDIENCE, "webhooks"]},
        {"aud": None},
        {"sub": None},
        {"sub": 7},
        {"exp": None},
        {"exp": "soon"},
        {"iat": None},
        {"key": None},
        {"key": "00000000"},
        {"scope": None},
        {"nbf": 4_000_000_000},
    ],
    ids=str,
)
def test_claims_that_are_not_ours_are_refused(bank: Tenant, other: dict[str, Any]) -> None:
    token = signed({"alg": "HS256", "typ": "at+jwt"}, claims(bank, **other))

    assert told(bank, token) == (401, "token_invalid")


def test_a_token_whose_time_is_over_is_refused_by_a_name_of_its_own(bank: Tenant) -> None:
    token, expires_at = mint(
        key=key_of(bank), user_id="alice", scopes=READS, ttl_s=60, now=now() - timedelta(seconds=61)
    )

    assert told(bank, token) == (401, "token_expired")
    assert expires_at < datetime.now(UTC)  # noqa: TID251


def test_a_token_that_was_just_used_ends_to_the_second(bank: Tenant) -> None:
    token, expires_at = mint(key=key_of(bank), user_id="alice", scopes=READS, ttl_s=4, now=now())
    assert told(bank, token) == (200, "alice")

    time.sleep(max(0.0, (expires_at - now()).total_seconds()))

    assert told(bank, token) == (401, "token_expired")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_token_in_which_anything_is_changed_is_refused(bank: Tenant, place: int) -> None:
    parts = bank.as_user("alice").key.split(".")
    middle = len(parts[place]) // 2
    parts[place] = parts[place][:middle] + ("A" if parts[place][middle] != "A" else "B") + parts[place][middle + 1 :]

    assert told(bank, ".".join(parts)) == (401, "token_invalid")


def test_another_user_is_not_put_into_a_token(bank: Tenant) -> None:
    header, payload, signature = bank.as_user("alice").key.split(".")
    said = json.loads(base64.urlsafe_b64decode(payload + "=="))

    assert told(bank, f"{header}.{part(said | {'sub': 'bob'})}.{signature}") == (401, "token_invalid")


@pytest.mark.parametrize(
    "by", [b"", b"secret", configured.SECRET_KEY.encode(), hashlib.sha256(b"other").digest()], ids=range(4)
)
def test_what_is_signed_with_another_secret_is_refused_the_service_s_own_included(bank: Tenant, by: bytes) -> None:
    assert told(bank, signed({"alg": "HS256", "typ": "at+jwt"}, claims(bank), by=by)) == (401, "token_invalid")


def test_the_token_of_another_installation_is_refused(bank: Tenant, settings: Any) -> None:
    token = bank.as_user("alice").key
    other_secret = jwt.encode(claims(bank), secret("o" * 50), algorithm=ALGORITHM, headers={"typ": "at+jwt"})
    assert told(bank, other_secret) == (401, "token_invalid")

    # A copy of the database and of the secret, such as a test system made of production.
    settings.TOKEN_ISSUER = "countinghouse test"
    forget_keys()
    assert told(bank, token) == (401, "token_invalid")


def test_a_secret_of_before_is_taken_until_it_is_taken_away(bank: Tenant, settings: Any) -> None:
    token, before = bank.as_user("alice").key, settings.SECRET_KEY

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 50, [before]
    forget_keys()
    assert told(bank, token) == (200, "alice")
    assert told(bank, bank.as_user("alice").key) == (200, "alice")

    settings.SECRET_KEY_FALLBACKS = []
    forget_keys()
    assert told(bank, token) == (401, "token_invalid")


@pytest.mark.parametrize(
    "token",
    [
        *("..", "a.b.c", "e30.e30.e30", "\x00.\x00.\x00", "é.é.é", "a" * 9000 + ".b.c"),
        part({"alg": "HS256", "typ": "at+jwt"}) + "." + "A" * 100_000 + ".AAAA",
        part({"alg": "HS256", "typ": "at+jwt"}) + "." + part([[]] * 10) + ".AAAA",
        base64.urlsafe_b64encode(b"[" * 1400).decode() + ".AAAA.AAAA",
        base64.urlsafe_b64encode(b'{"alg":' * 190).decode() + ".AAAA.AAAA",
        base64.urlsafe_b64encode(b'{"alg":' + b"9" * 1400 + b"}").decode() + ".AAAA.AAAA",
    ],
    ids=range(11),
)
def test_what_only_looks_like_a_token_is_refused(bank: Tenant, token: str) -> None:
    assert told(bank, token.encode().decode("latin-1")) == (401, "token_invalid")


def test_a_token_that_is_too_long_is_not_even_read(bank: Tenant) -> None:
    said = claims(bank, padding="x" * 2000)

    assert told(bank, signed({"alg": "HS256", "typ": "at+jwt"}, said)) == (401, "token_invalid")


def test_a_token_ends_with_the_key_that_minted_it_within_a_second(bank: Tenant) -> None:
    alice = bank.as_user("alice")
    assert told(bank, alice.key) == (200, "alice")

    revoke_key(key=key_of(bank), actor="test", now=now())
    time.sleep(1.0)

    assert told(bank, alice.key) == (401, "token_invalid")


def test_a_token_lives_no_longer_than_its_key(bank: Tenant) -> None:
    ends = now() + timedelta(seconds=30)
    bank.key = create_key(client=bank.client, scopes=SCOPES, expires_at=ends, actor="test")[1]

    shape = bank.post("/v2/tokens", {"user_id": "alice", "ttl_s": TTL_S_MAX}).json()

    assert datetime.fromisoformat(shape["expires_at"]) == ends.replace(microsecond=0)


def test_what_a_token_claims_beyond_its_key_and_its_kind_is_not_granted(bank: Tenant) -> None:
    bank.key = create_key(client=bank.client, scopes=["transactions:read", "tokens:write"], actor="test")[1]
    token = signed({"alg": "HS256", "typ": "at+jwt"}, claims(bank, scope=" ".join(SCOPES)))

    assert Tenant(bank.client, token).get("/v2/me").json()["scopes"] == ["transactions:read"]


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"scopes": ["accounts:read"]}, 422, "token_scopes_refused"),
        ({"scopes": ["transactions:write"]}, 422, "field_choice"),
        ({"scopes": []}, 422, "field_length"),
        ({"ttl_s": 0}, 422, "field_range"),
        ({"ttl_s": TTL_S_MAX + 1}, 422, "field_range"),
        ({"ttl_s": 60.5}, 422, "field_type"),
        ({"user_id": ""}, 422, "field_pattern"),
        ({"user_id": "u" * 65}, 422, "field_pattern"),
        ({"user_id": "al ice"}, 422, "field_pattern"),
        ({"user_id": "alice\n"}, 422, "field_pattern"),
        ({"user_id": "älice"}, 422, "field_pattern"),
        ({"user_id": "alice\u202e"}, 422, "field_pattern"),
        ({"user_id": None}, 422, "field_type"),
        ({"user_id": ["alice"]}, 422, "field_type"),
        ({"tier": "internal"}, 422, "field_unknown"),
        ({"sub": "bob"}, 422, "field_unknown"),
    ],
    ids=str,
)
def test_a_token_that_may_not_be_is_not_minted(bank: Tenant, asked: dict[str, Any], status: int, code: str) -> None:
    bank.key = create_key(client=bank.client, scopes=["transactions:read", "tokens:write"], actor="test")[1]

    answer = bank.post("/v2/tokens", {"user_id": "alice"} | asked)

    assert (answer.status_code, answer.json()["code"]) in {(status, code), (status, "invalid")}
    assert code in {answer.json()["code"], *(error["code"] for error in answer.json()["errors"])}


@pytest.mark.parametrize(
    "user_id", ["a", "u" * 64, "'; DROP TABLE users; --", "%", "../bob", "<b>", '{"a":1}', "~!@#$"]
)
def test_odd_users_are_only_names(bank: Tenant, user_id: str) -> None:
    user_id = user_id.replace(" ", "_")
    bank.open("users:odd:USD", user_id=user_id)
    bank.person("alice")

    seen = bank.as_user(user_id).get("/v2/accounts").json()["data"]

    assert [account["user_id"] for account in seen] == [user_id]


def test_a_token_mints_no_token(bank: Tenant) -> None:
    answer = bank.as_user("alice").post("/v2/tokens", {"user_id": "bob"})

    assert (answer.status_code, answer.json()["code"]) == (403, "not_for_users")


def test_a_key_of_another_client_has_nothing_to_do_with_it(bank: Tenant, other_bank: Tenant) -> None:
    for tenant in (bank, other_bank):
        tenant.person("alice", holding="1.00")

    seen = other_bank.as_user("alice").get("/v2/me").json()

    assert seen["client"]["name"] == other_bank.client.name
    assert seen["key_id"] == other_bank.key.split("_")[1]
