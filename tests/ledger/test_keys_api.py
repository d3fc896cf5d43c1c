"""Keys by API: a key makes, replaces and ends keys, and none of them may do more than it."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections

from config.runtime.clock import now, rfc3339
from ledger.clients.authentication import forget_keys
from ledger.clients.models import ApiKey, AuditEntry
from ledger.clients.scopes import SCOPES
from ledger.clients.services import create_key, revoke_key
from tests.people import Tenant

KEYS = "/v2/keys"
FEW = ["accounts:read", "keys:read", "keys:write"]


def holder(bank: Tenant, scopes: Any = FEW, **more: Any) -> Tenant:
    """The same client with another key."""
    return Tenant(bank.client, create_key(client=bank.client, scopes=scopes, actor="test", **more)[1])


def id_of(tenant: Tenant) -> str:
    return tenant.key.split("_")[1]


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_key_is_made_shown_once_and_works(bank: Tenant) -> None:
    asked = {"scopes": ["accounts:read"], "label": "cron", "networks": ["127.0.0.0/8"]}
    answer = bank.post(KEYS, asked)

    assert (answer.status_code, answer["Cache-Control"]) == (201, "no-store")
    made = answer.json()
    assert answer["Location"] == f"/v2/keys/{made['id']}"
    assert Tenant(bank.client, made["key"]).get("/v2/accounts").status_code == 200
    shown = bank.get(answer["Location"]).json()
    assert shown == {name: value for name, value in made.items() if name != "key"} | {
        "last_used_at": shown["last_used_at"]
    }
    assert (shown["status"], shown["label"], shown["networks"], shown["expires_at"]) == (
        "live", "cron", ["127.0.0.0/8"], None
    )  # fmt: skip
    entry = AuditEntry.objects.get(object_id=made["id"])
    assert (entry.action, entry.actor, entry.request_id) == (
        "key.created",
        f"key:{id_of(bank)}",
        answer["X-Request-ID"],
    )
    assert entry.detail == {"scopes": ["accounts:read"], "networks": ["127.0.0.0/8"]}


def test_the_list_shows_the_client_s_keys_without_secrets_page_by_page(bank: Tenant, other_bank: Tenant) -> None:
    for number in range(4):
        holder(bank, label=f"key {number}")
    seen, url = [], f"{KEYS}?limit=2"
    while url:
        page = bank.get(url).json()
        seen += [row["id"] for row in page["data"]]
        url = f"{KEYS}?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""

    assert seen == sorted(bank.client.keys.values_list("pk", flat=True))
    assert len(seen) == 5
    assert "secret" not in bank.get(KEYS).content.decode()
    assert other_bank.get(f"{KEYS}/{id_of(bank)}").status_code == 404


def test_another_client_s_keys_are_told_like_missing_ones(bank: Tenant, other_bank: Tenant) -> None:
    for name in ("", "/rotate", "/revoke"):
        for key_id in (id_of(bank), "00000000", "x", "%00"):
            url = f"{KEYS}/{key_id}{name}"
            answer = other_bank.post(url, {}) if name else other_bank.get(url)
            assert code(answer) in {(404, "not_found"), (404, "route_not_found")}, url
    assert ApiKey.objects.get(pk=id_of(bank)).is_live(now())


@pytest.mark.parametrize(
    "asked",
    [
        {"scopes": ["transactions:write"]},
        {"scopes": ["accounts:read", "tokens:write"]},
        {"scopes": ["operations:write"]},
        {"scopes": ["accounts:read"], "networks": ["192.0.0.0/16"]},
        {"scopes": ["accounts:read"], "networks": ["0.0.0.0/0"]},
        {"scopes": ["accounts:read"], "networks": ["127.0.0.0/8", "10.0.0.0/8"]},
        {"scopes": ["accounts:read"], "networks": ["::/0"]},
        {"scopes": ["accounts:read"], "expires_at": "2999-01-01T00:00:00Z"},
    ],
    ids=str,
)
def test_a_key_makes_none_that_may_do_more_from_elsewhere_or_longer(bank: Tenant, asked: dict[str, Any]) -> None:
    mallory = holder(bank, networks=["127.0.0.0/8"], expires_at=now() + timedelta(days=1))
    before = bank.client.keys.count()

    assert code(mallory.post(KEYS, asked)) == (403, "key_exceeds_own")
    assert bank.client.keys.count() == before


def test_what_is_not_said_is_as_narrow_as_the_asking_key(bank: Tenant) -> None:
    ends = now() + timedelta(days=1)
    narrow = holder(bank, networks=["127.0.0.0/8"], expires_at=ends)

    made = narrow.post(KEYS, {"scopes": ["accounts:read"]}).json()

    assert (made["networks"], made["expires_at"]) == (["127.0.0.0/8"], rfc3339(ends))


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({}, "field_missing"),
        ({"scopes": []}, "field_length"),
        ({"scopes": ["money:print"]}, "field_choice"),
        ({"scopes": ["accounts:read"], "networks": ["127.0.0.1/8"]}, "network_malformed"),
        ({"scopes": ["accounts:read"], "expires_at": "2020-01-01T00:00:00Z"}, "expiry_passed"),
        ({"scopes": ["accounts:read"], "expires_at": "2020-01-01"}, "field_format"),
        ({"scopes": ["accounts:read"], "label": "x" * 101}, "field_length"),
        ({"scopes": ["accounts:read"], "client": 1}, "field_unknown"),
        ({"scopes": ["accounts:read"], "secret_hash": ""}, "field_unknown"),
    ],
    ids=str,
)
def test_a_key_that_cannot_be_is_not_made(bank: Tenant, asked: dict[str, Any], refusal: str) -> None:
    answer = bank.post(KEYS, asked)

    assert answer.status_code == 422
    assert refusal in {answer.json()["code"], *(one["code"] for one in answer.json()["errors"])}
    assert bank.client.keys.count() == 1


def test_a_key_replaces_itself_and_both_are_taken_meanwhile(bank: Tenant) -> None:
    answer = bank.post(f"{KEYS}/{id_of(bank)}/rotate", {"overlap_s": 3600, "reason": "monthly"})

    new = Tenant(bank.client, answer.json()["key"])
    assert (answer.status_code, answer["Cache-Control"], answer.json()["replaces"]) == (201, "no-store", id_of(bank))
    assert (answer.json()["scopes"], answer.json()["expires_at"]) == (sorted(SCOPES), None)
    forget_keys()
    assert [one.get("/v2/me").status_code for one in (bank, new)] == [200, 200]
    left = ApiKey.objects.get(pk=id_of(bank)).expires_at - now()  # type: ignore[operator]  # it has one now
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    entry = AuditEntry.objects.get(object_id=id_of(bank), action="key.rotated")
    assert (entry.actor, entry.reason) == (f"key:{id_of(bank)}", "monthly")


def test_a_key_that_ends_cannot_live_on_in_its_successors(bank: Tenant) -> None:
    ends = now() + timedelta(days=1)
    dying = holder(bank, expires_at=ends)

    for _ in range(3):
        made = dying.post(f"{KEYS}/{id_of(dying)}/rotate", {"overlap_s": 7_776_000}).json()
        assert made["expires_at"] == rfc3339(ends)
        dying = Tenant(bank.client, made["key"])


@pytest.mark.parametrize("change", ["rotate", "revoke"])
def test_a_key_neither_replaces_nor_ends_one_that_may_do_more(bank: Tenant, change: str) -> None:
    lesser = holder(bank)

    assert code(lesser.post(f"{KEYS}/{id_of(bank)}/{change}", {})) == (403, "key_exceeds_own")
    row = ApiKey.objects.get(pk=id_of(bank))
    assert (row.expires_at, row.revoked_at, row.successors.count()) == (None, None, 0)


def test_a_key_from_few_addresses_replaces_none_that_is_taken_from_everywhere(bank: Tenant) -> None:
    narrow, wide = holder(bank, networks=["127.0.0.1"]), holder(bank)

    assert code(narrow.post(f"{KEYS}/{id_of(wide)}/rotate", {})) == (403, "key_exceeds_own")
    assert wide.post(f"{KEYS}/{id_of(narrow)}/rotate", {}).status_code == 201


def test_a_key_ends_others_and_itself(bank: Tenant) -> None:
    spare = holder(bank)

    for ended in (spare, bank):
        answer = bank.post(f"{KEYS}/{id_of(ended)}/revoke", {"reason": "leaked"})
        assert (answer.status_code, answer.json()["status"]) == (200, "revoked")
    forget_keys()

    assert [one.get("/v2/me").status_code for one in (spare, bank)] == [401, 401]
    entries = AuditEntry.objects.filter(client=bank.client, action="key.revoked").values_list("object_id", "reason")
    assert set(entries) == {(id_of(spare), "leaked"), (id_of(bank), "leaked")}


def test_a_key_that_was_just_revoked_makes_no_other(bank: Tenant) -> None:
    """It is remembered for a second, and must not use it to live on."""
    assert bank.get("/v2/me").status_code == 200
    revoke_key(key=ApiKey.objects.get(pk=id_of(bank)), actor="test", now=now())

    assert code(bank.post(KEYS, {"scopes": ["accounts:read"]})) == (409, "key_ended")
    assert code(bank.post(f"{KEYS}/{id_of(bank)}/rotate", {})) == (409, "key_ended")
    assert bank.client.keys.count() == 1


def test_a_repeated_request_makes_no_second_key_and_does_not_tell_the_first(bank: Tenant) -> None:
    key, asked = str(uuid4()), {"scopes": ["accounts:read"]}
    first, again = bank.post(KEYS, asked, key=key), bank.post(KEYS, asked, key=key)

    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json() | {"key": None}
    assert bank.client.keys.count() == 2
    assert code(bank.post(KEYS, asked | {"label": "x"}, key=key)) == (422, "idempotency_key_reused")


def test_of_many_equal_requests_one_makes_a_key(bank: Tenant) -> None:
    key, told = str(uuid4()), list[str | None]()
    together = threading.Barrier(4)

    def make() -> None:
        try:
            together.wait(timeout=10)
            told.append(bank.post(KEYS, {"scopes": ["accounts:read"]}, key=key).json()["key"])
        finally:
            connections.close_all()

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert len(told) == 4
    assert sum(text is not None for text in told) == 1
    assert bank.client.keys.count() == 2
