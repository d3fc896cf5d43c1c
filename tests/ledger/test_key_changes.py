"""Keys are replaced with an overlap, taken from some addresses only, and say when they were used."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.runtime.clock import now
from ledger.clients import services, uses
from ledger.clients.authentication import forget_keys
from ledger.clients.errors import KeyEnded, LabelMalformed, NetworkMalformed, ScopeReserved, TooManyKeys
from ledger.clients.models import ApiKey, AuditEntry, Client
from ledger.clients.scopes import ROLES, SCOPES
from ledger.clients.services import OVERLAP, check_networks, create_key, revoke_key, rotate_key
from tests.people import Tenant

WAKE = uses._wake  # while tests run nobody is woken


def key_of(tenant: Tenant) -> ApiKey:
    return ApiKey.objects.get(pk=tenant.key.split("_")[1])


def rotated(key: ApiKey, at: datetime, **more: Any) -> tuple[ApiKey, str]:
    return rotate_key(key=key, actor="test", now=at, **more)


def status(tenant: Tenant, key: str, address: str = "127.0.0.1") -> int:
    forget_keys()
    return int(Tenant(tenant.client, key).http().get("/v2/me", REMOTE_ADDR=address).status_code)


def test_both_keys_are_taken_until_the_overlap_is_over(bank: Tenant) -> None:
    old, at = key_of(bank), now()

    new, text = rotated(old, at, overlap=timedelta(seconds=4))

    assert (status(bank, bank.key), status(bank, text)) == (200, 200)
    assert (new.scopes, new.label, new.replaces_id) == (old.scopes, old.label, old.pk)
    time.sleep(max(0.0, 4 - (now() - at).total_seconds()))
    assert (status(bank, bank.key), status(bank, text)) == (401, 200)


def test_the_overlap_is_a_day_unless_something_else_is_said(bank: Tenant) -> None:
    at = now()
    assert rotated(key_of(bank), at)[0].expires_at is None
    assert key_of(bank).expires_at == at + timedelta(days=1) == at + OVERLAP


def test_a_rotation_makes_no_key_live_longer(bank: Tenant) -> None:
    at = now()
    ends = at + timedelta(hours=3)
    old, _ = create_key(client=bank.client, scopes=["accounts:read"], expires_at=ends, actor="test")

    new, _ = rotated(old, at)

    assert (new.expires_at, ApiKey.objects.get(pk=old.pk).expires_at) == (ends, ends)


def test_a_key_whose_successor_got_lost_is_rotated_again_and_its_end_stands(bank: Tenant) -> None:
    at = now()
    rotated(key_of(bank), at, overlap=timedelta(hours=1))

    again, text = rotated(key_of(bank), at + timedelta(minutes=30), overlap=timedelta(hours=5))

    assert key_of(bank).expires_at == at + timedelta(hours=1)
    assert again.expires_at is None  # as the key was to end before its first rotation
    assert status(bank, text) == 200


def test_what_limits_a_key_limits_its_successor(bank: Tenant) -> None:
    old, _ = create_key(
        client=bank.client, scopes=["accounts:read"], label="cron", networks=["192.0.2.0/24"], actor="test"
    )

    new, text = rotated(old, now())

    assert (new.networks, new.label) == (["192.0.2.0/24"], "cron")
    assert (status(bank, text, "192.0.2.255"), status(bank, text, "192.0.3.0")) == (200, 403)


def test_a_key_that_has_ended_is_not_rotated(bank: Tenant) -> None:
    at = now()
    revoked, _ = create_key(client=bank.client, scopes=["accounts:read"], actor="test")
    revoke_key(key=revoked, actor="test", now=at)
    expired, _ = create_key(client=bank.client, scopes=["accounts:read"], expires_at=at, actor="test")
    for key in (revoked, expired):
        with pytest.raises(KeyEnded):
            rotated(key, at)
    assert bank.client.keys.count() == 3


def test_a_key_with_reserved_scopes_is_not_rotated_for_a_client_that_is_not_internal_any_more(bank: Tenant) -> None:
    Client.objects.filter(pk=bank.client.pk).update(tier="free")
    with pytest.raises(ScopeReserved):
        rotated(key_of(bank), now())
    assert key_of(bank).expires_at is None


def test_a_rotation_is_written_down_of_both_keys(bank: Tenant) -> None:
    old, at = key_of(bank), now()
    new, _ = rotated(old, at, reason="yearly", request_id="request-1")

    kept = AuditEntry.objects.filter(client=bank.client, request_id="request-1").order_by("id")
    assert [(entry.action, entry.object_id, entry.actor, entry.reason) for entry in kept] == [
        ("key.created", new.pk, "test", "yearly"),
        ("key.rotated", old.pk, "test", "yearly"),
    ]
    assert kept[0].detail == {"scopes": sorted(SCOPES), "replaces": old.pk}
    assert kept[1].detail == {"replaced_by": new.pk, "expires_at": (at + OVERLAP).isoformat()}


def test_a_client_has_so_many_live_keys_and_those_that_ended_do_not_count(
    bank: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "KEYS_MAX", 3)
    create_key(client=bank.client, scopes=["accounts:read"], expires_at=now() - timedelta(seconds=1), actor="test")
    spare, _ = create_key(client=bank.client, scopes=["accounts:read"], actor="test")
    create_key(client=bank.client, scopes=["accounts:read"], actor="test")

    with pytest.raises(TooManyKeys):
        create_key(client=bank.client, scopes=["accounts:read"], actor="test")
    with pytest.raises(TooManyKeys):
        rotated(spare, now())

    revoke_key(key=spare, actor="test", now=now())
    create_key(client=bank.client, scopes=["accounts:read"], actor="test")


@pytest.mark.parametrize(
    ("networks", "address", "is_taken"),
    [
        (["192.0.2.0/24"], "192.0.2.1", True),
        (["192.0.2.0/24"], "192.0.3.1", False),
        (["192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.7"], "192.0.2.8", False),
        (["192.0.2.0/24"], "::ffff:192.0.2.1", True),
        (["2001:db8::/32"], "2001:db8:1::1", True),
        (["2001:db8::/32"], "192.0.2.1", False),
        (["192.0.2.0/25", "198.51.100.0/24"], "198.51.100.200", True),
        (["192.0.2.0/24"], "not an address", False),
        ([], "203.0.113.1", True),
    ],
)
def test_a_key_is_taken_from_its_addresses_alone(
    bank: Tenant, networks: list[str], address: str, is_taken: bool
) -> None:
    _, text = create_key(client=bank.client, scopes=["accounts:read"], networks=networks, actor="test")
    http = Tenant(bank.client, text).http()

    told = [http.get("/v2/accounts", REMOTE_ADDR=address) for _ in range(2)]  # looked up, and remembered

    assert [answer.status_code for answer in told] == [200 if is_taken else 403] * 2
    assert is_taken or told[0].json()["code"] == "address_refused"


def test_what_the_client_says_of_its_address_is_not_believed(bank: Tenant) -> None:
    _, text = create_key(client=bank.client, scopes=["accounts:read"], networks=["192.0.2.0/24"], actor="test")

    said = Tenant(bank.client, text).http(**{"X-Forwarded-For": "192.0.2.1", "X-Real-IP": "192.0.2.1"})

    assert said.get("/v2/accounts", REMOTE_ADDR="203.0.113.1").status_code == 403


def test_a_user_s_token_is_taken_from_everywhere(bank: Tenant) -> None:
    """Ranges are those of the servers that hold the key, and users are elsewhere."""
    _, text = create_key(client=bank.client, scopes=SCOPES, networks=["127.0.0.0/8"], actor="test")

    alice = Tenant(bank.client, text).as_user("alice")

    assert alice.http().get("/v2/me", REMOTE_ADDR="203.0.113.1").status_code == 200


@pytest.mark.parametrize(
    "network",
    ["192.0.2.1/24", "192.0.2.0/33", "192.0.2", "everywhere", "", "2001:db8::1/32", "192.0.2.0/24,10.0.0.0/8"],
)
def test_a_range_is_written_as_one(bank: Tenant, network: str) -> None:
    with pytest.raises(NetworkMalformed):
        create_key(client=bank.client, scopes=["accounts:read"], networks=[network], actor="test")
    assert bank.client.keys.count() == 1


def test_ranges_are_kept_in_one_form_each_once_and_few(bank: Tenant) -> None:
    assert check_networks(["2001:DB8::/32", "10.0.0.1", "10.0.0.1/32"]) == ["10.0.0.1/32", "2001:db8::/32"]
    with pytest.raises(NetworkMalformed):
        check_networks([f"10.0.{part}.0/24" for part in range(21)])
    with pytest.raises(LabelMalformed):
        create_key(client=bank.client, scopes=["accounts:read"], label="x" * 101, actor="test")


def test_the_use_of_a_key_is_kept_once_a_minute_by_another_thread(bank: Tenant) -> None:
    assert key_of(bank).last_used_at is None
    before = now()

    with CaptureQueriesContext(connection) as captured:
        assert status(bank, bank.key) == 200
    assert not any("UPDATE" in query["sql"] for query in captured)

    uses.keep_uses()
    used_at = key_of(bank).last_used_at
    assert used_at is not None
    assert before <= used_at <= now()
    assert status(bank, bank.key) == 200
    assert bank.key.split("_")[1] not in uses._pending
    ApiKey.objects.filter(pk=key_of(bank).pk).update(last_used_at=before - timedelta(seconds=60))
    assert status(bank, bank.key) == 200
    uses.keep_uses()
    assert key_of(bank).last_used_at > before  # type: ignore[operator]  # it has one


def test_it_is_kept_soon_without_anybody_asking_for_it(bank: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "_wake", WAKE)
    assert status(bank, bank.key) == 200

    until = time.monotonic() + 10
    while key_of(bank).last_used_at is None:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_use_of_a_token_is_the_use_of_its_key(bank: Tenant) -> None:
    alice = bank.as_user("alice")
    uses.keep_uses()
    ApiKey.objects.filter(pk=key_of(bank).pk).update(last_used_at=None)

    assert status(bank, alice.key) == 200
    uses.keep_uses()

    assert key_of(bank).last_used_at is not None


def test_an_attempt_that_is_refused_is_no_use(bank: Tenant) -> None:
    assert status(bank, f"{bank.key[:12]}{'0' * 32}") == 401
    uses.keep_uses()
    assert key_of(bank).last_used_at is None


def test_what_waits_to_be_kept_is_bounded_and_never_goes_back(bank: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "PENDING_MAX", 0)
    uses.keep_uses()
    uses.note_use(key_of(bank), now=now())
    assert uses._pending == {}

    late, early = now(), now() - timedelta(hours=1)
    services.note_uses({key_of(bank).pk: late})
    services.note_uses({key_of(bank).pk: early, "00000000": early})
    assert key_of(bank).last_used_at == late


def test_the_commands_make_replace_and_end_a_key(bank: Tenant) -> None:
    printed, told = StringIO(), StringIO()
    options = {"scopes": "reader, keys:read", "networks": "127.0.0.0/8", "days": 30}
    call_command("create_key", bank.client.name, **options, stdout=printed, stderr=told)
    (first,) = re.findall(r"ch_\w{8}_\w{32}", printed.getvalue())
    key = ApiKey.objects.get(pk=first[3:11])
    assert (key.scopes, key.networks) == (sorted([*ROLES["reader"], "keys:read"]), ["127.0.0.0/8"])

    call_command("rotate_key", f"ch_{key.pk}", overlap_hours=0, days=60, stdout=printed, stderr=told)

    second = re.findall(r"ch_\w{8}_\w{32}", printed.getvalue())[-1]
    new = ApiKey.objects.get(pk=second[3:11])
    assert (new.replaces_id, new.scopes) == (key.pk, key.scopes)
    assert new.expires_at is not None
    assert timedelta(days=59) < new.expires_at - now() <= timedelta(days=60)
    assert (status(bank, first), status(bank, second)) == (401, 200)

    call_command("revoke_key", new.pk.lower(), reason="leaked", stdout=printed)

    assert status(bank, second) == 401
    assert printed.getvalue().endswith(f"{new.pk} of {bank.client.name} is revoked.\n")
    call_command("revoke_key", new.pk, stdout=printed)
    assert printed.getvalue().endswith("was revoked.\n")
    entries = AuditEntry.objects.filter(object_id__in=[key.pk, new.pk]).order_by("id").values_list("action", "actor")
    assert list(entries) == [
        ("key.created", "command:create_key"),
        ("key.created", "command:rotate_key"),
        ("key.rotated", "command:rotate_key"),
        ("key.revoked", "command:revoke_key"),
    ]
    with pytest.raises(CommandError, match="key_ended"):
        call_command("rotate_key", new.pk)


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        ("rotate_key", {"key": "00000000"}, "There is no key 00000000"),
        ("revoke_key", {"key": "00000000"}, "There is no key 00000000"),
        ("rotate_key", {"overlap_hours": -1}, "--overlap-hours is 0 to 2160"),
        ("rotate_key", {"overlap_hours": 2161}, "--overlap-hours is 0 to 2160"),
        ("rotate_key", {"days": 0}, "--days is 1 to 3660"),
    ],
)
def test_the_commands_refuse_what_cannot_be(bank: Tenant, command: str, options: dict[str, Any], said: str) -> None:
    key = options.pop("key", key_of(bank).pk)
    with pytest.raises(CommandError, match=said):
        call_command(command, key, **options)
