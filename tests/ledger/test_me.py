"""Who is asking, as the service sees it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.runtime.clock import now, rfc3339
from ledger.clients.scopes import SCOPES
from ledger.clients.services import create_key
from tests.people import Tenant


def test_a_key_is_told_what_it_is(bank: Tenant) -> None:
    ends = now() + timedelta(days=1)
    key, bank.key = create_key(
        client=bank.client,
        scopes=["events:read", "accounts:read"],
        label="cron",
        networks=["192.0.2.0/24"],
        expires_at=ends,
        actor="test",
    )

    answer = bank.http().get("/v2/me", REMOTE_ADDR="192.0.2.7")

    assert answer.json() == {
        "client": {"id": str(bank.client.public_id), "name": bank.client.name, "tier": "internal"},
        "key_id": key.pk,
        "label": "cron",
        "user_id": None,
        "scopes": ["accounts:read", "events:read"],
        "networks": ["192.0.2.0/24"],
        "expires_at": rfc3339(ends),
        "address": "192.0.2.7",
    }


def test_a_user_is_told_what_is_the_user_s_and_nothing_of_the_key_but_its_id(bank: Tenant) -> None:
    key, bank.key = create_key(client=bank.client, scopes=SCOPES, label="backend", actor="test")
    alice = bank.as_user("alice", scopes=["accounts:read"])

    told = alice.get("/v2/me").json()

    assert (told["user_id"], told["scopes"], told["key_id"]) == ("alice", ["accounts:read"], key.pk)
    assert (told["label"], told["networks"]) == ("", [])
    assert told["expires_at"] is not None


def test_behind_proxies_the_client_s_own_address_is_told(bank: Tenant, settings) -> None:
    settings.TRUSTED_PROXIES = 1
    through = bank.http(**{"X-Forwarded-For": "203.0.113.9, 198.51.100.4"})

    assert through.get("/v2/me", REMOTE_ADDR="10.0.0.1").json()["address"] == "198.51.100.4"


@pytest.mark.usefixtures("remembered_keys")
def test_who_asks_again_costs_one_query(bank: Tenant) -> None:
    alice = bank.as_user("alice")
    for tenant in (bank, alice):
        tenant.get("/v2/me")
        with CaptureQueriesContext(connection) as captured:
            tenant.get("/v2/me")
        assert len(captured) == 1
