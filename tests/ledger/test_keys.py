"""API keys: who is let in, what each key may do, and what is kept of it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connections
from django.test import RequestFactory

from config.api.principal import Principal
from config.runtime.clock import now
from config.runtime.errors import Kind
from ledger.clients import authentication
from ledger.clients.authentication import Networks, forget_keys
from ledger.clients.errors import ClientNameMalformed, ClientNameTaken, ScopeReserved, ScopeUnknown
from ledger.clients.models import ApiKey, AuditEntry, Client
from ledger.clients.scopes import SCOPES
from ledger.clients.services import create_client, create_key, find_or_create_client, revoke_key
from tests.apart import DATABASE
from tests.conftest import owner_connection
from tests.people import Tenant


def key_of(tenant: Tenant) -> ApiKey:
    return ApiKey.objects.get(pk=tenant.key.split("_")[1])


def ask(tenant: Tenant, authorization: str | None = None, method: str = "GET", url: str = "/v2/accounts") -> Any:
    headers = {} if authorization is None else {"Authorization": authorization}
    # Wrong keys are counted by address: each question comes from one of its own.
    part = uuid4().hex
    return tenant.http(**headers).generic(
        method, url, content_type="application/json", REMOTE_ADDR=f"2001:db8:{part[:4]}:{part[4:8]}::1"
    )


def refusal(answer: Any) -> tuple[int, str]:
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer["X-Request-ID"]
    return answer.status_code, answer.json()["code"]


def test_a_key_is_accepted_whatever_the_case_of_bearer(bank: Tenant) -> None:
    assert ask(bank).status_code == 200
    assert ask(bank, f"bearer {bank.key}").status_code == 200


def test_a_revoked_key_is_refused(bank: Tenant) -> None:
    revoke_key(key=key_of(bank), actor="staff:root", reason="lost", now=now())
    assert refusal(ask(bank)) == (401, "api_key_invalid")


def test_a_key_that_was_just_used_is_refused_once_its_memory_ends(bank: Tenant) -> None:
    assert ask(bank).status_code == 200
    revoke_key(key=key_of(bank), actor="staff:root", now=now())
    forget_keys()
    assert refusal(ask(bank)) == (401, "api_key_invalid")


def test_of_many_threads_one_looks_a_key_up_again_before_its_memory_ends(
    bank: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(bank, f"Bearer {bank.key}").status_code == 200
    looked_up, look_up = list[str](), authentication._look_up

    def noted(token: str, address: str, *, is_known: bool) -> tuple[Principal, Networks]:
        looked_up.append(token)
        return look_up(token, address, is_known=is_known)

    monkeypatch.setattr(authentication, "_look_up", noted)
    time.sleep(authentication._RENEWED_AFTER_S)

    with ThreadPoolExecutor(8) as threads:
        principals = list(
            threads.map(lambda _: authentication._principal(bank.key, RequestFactory().get("/")), range(8))
        )

    assert looked_up == [bank.key]
    assert len({principal.key_id for principal in principals}) == 1


def test_an_expired_key_is_refused(bank: Tenant) -> None:
    for expires_at, status in ((now() - timedelta(seconds=1), 401), (now() + timedelta(minutes=1), 200)):
        bank.key = create_key(client=bank.client, scopes=SCOPES, expires_at=expires_at, actor="test")[1]
        assert ask(bank).status_code == status


@pytest.mark.parametrize(
    "authorization",
    [
        *("Bearer", "Bearer ", "Bearer x", "Basic {key}", "{key}", "Token {key}"),
        *("Bearer {key}x", "Bearer {other}", "Bearer {lower}", "Bearer {key} {key}", "Bearer {key},{key}"),
        *("Bearer ch_00000000_00000000000000000000000000000000", "Bearer \u043a\u043b\u044e\u0447"),
    ],
)
def test_what_is_no_known_key_is_refused(bank: Tenant, authorization: str) -> None:
    head, secret = bank.key.rsplit("_", 1)
    other = f"{head}_{secret[::-1]}"
    sent = authorization.format(key=bank.key, other=other, lower=bank.key.lower())
    answer = ask(bank, sent.encode().decode("latin-1"))
    assert refusal(answer) == (401, "api_key_invalid")
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert bank.key not in answer.content.decode()


def test_of_a_key_only_the_hash_is_kept(bank: Tenant) -> None:
    secret = bank.key.split("_")[2]
    row = key_of(bank)
    assert len(bytes(row.secret_hash)) == 32
    assert secret not in str([*ApiKey.objects.filter(pk=row.pk).values(), *AuditEntry.objects.values()])


def test_a_scope_must_exist_and_nothing_is_made_otherwise(bank: Tenant) -> None:
    with pytest.raises(ScopeUnknown):
        create_key(client=bank.client, scopes=["accounts:read", "money:print"], actor="test")
    assert bank.client.keys.count() == 1


@pytest.mark.parametrize("tier", ["free", "standard", "premium"])
def test_operations_are_for_internal_clients(db, tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCOPES, "operations:read", "See everything.")
    client = Tenant.new(tier=tier, scopes=["accounts:read"]).client
    with pytest.raises(ScopeReserved):
        create_key(client=client, scopes=["operations:read"], actor="test")
    assert client.keys.count() == 1


def test_a_name_is_given_once(bank: Tenant) -> None:
    with pytest.raises(ClientNameTaken):
        create_client(name=bank.client.name, actor="test")
    assert Client.objects.filter(name=bank.client.name).count() == 1


@pytest.mark.parametrize("name", ["", "n" * 101], ids=["empty", "too long"])
def test_a_name_has_one_to_a_hundred_characters(db, name: str) -> None:
    with pytest.raises(ClientNameMalformed) as malformed:
        create_client(name=name, actor="test")
    with pytest.raises(CommandError, match=r"1 to 100 characters\. \(client_name_malformed\)$"):
        call_command("create_client", name)

    assert (malformed.value.code, malformed.value.kind) == ("client_name_malformed", Kind.INVALID)
    assert not Client.objects.filter(name=name).exists()
    longest = f"{uuid4()}".ljust(100, "ñ")
    assert create_client(name=longest, actor="test").name == longest


def test_what_else_the_database_refuses_of_a_client_is_no_taken_name(db) -> None:
    name = f"unlucky {uuid4()}"
    with owner_connection(DATABASE) as owner:
        owner.execute(f"ALTER TABLE clients_client ADD CONSTRAINT unlucky CHECK (name <> '{name}') NOT VALID")
        try:
            with pytest.raises(IntegrityError, match="unlucky"):
                create_client(name=name, actor="test")
        finally:
            owner.execute("ALTER TABLE clients_client DROP CONSTRAINT unlucky")
    assert not Client.objects.filter(name=name).exists()


def test_a_client_is_found_or_made_once_whoever_is_first(db) -> None:
    name, made = f"wanted {uuid4()}", []
    together = threading.Barrier(4)

    def want() -> None:
        try:
            together.wait(timeout=10)
            made.append(find_or_create_client(name=name, tier="free", actor="test").pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    client = Client.objects.get(name=name)
    assert made == [client.pk] * 4
    assert find_or_create_client(name=name, tier="premium", actor="test").tier == "free"
    assert AuditEntry.objects.filter(client=client, action="client.created").count() == 1


def test_what_is_done_to_keys_is_written_down_once(bank: Tenant) -> None:
    key = key_of(bank)
    for reason in ("lost", "again"):
        revoke_key(key=key, actor="staff:root", reason=reason, now=now())
    written = AuditEntry.objects.filter(client=bank.client, object_id=key.pk).order_by("id")
    assert [(entry.action, entry.actor, entry.reason) for entry in written] == [
        ("key.created", "test", ""),
        ("key.revoked", "staff:root", "lost"),
    ]


def test_the_commands_make_a_client_and_a_key_that_works(bank: Tenant) -> None:
    name = f"made by hand {bank.client.pk}"
    printed = StringIO()
    call_command("create_client", name, stdout=printed)
    call_command("create_key", name, "--scopes", "accounts:read", stdout=printed)
    bank.key = next(word for word in printed.getvalue().split() if word.startswith("ch_"))
    assert ask(bank).json() == {"data": [], "next_cursor": None, "prev_cursor": None}
    assert refusal(ask(bank, None, "GET", "/v2/transactions")) == (403, "scope_missing")
    with pytest.raises(CommandError):
        call_command("create_client", name, stdout=printed)
