"""Guessing keys is slowed down, by address and by key, and nobody pays for it who has a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as configured

from config.runtime.clock import now
from ledger.clients import authentication, guessing
from ledger.clients.authentication import forget_keys
from ledger.clients.models import ApiKey
from ledger.clients.scopes import SCOPES
from ledger.clients.services import create_key, revoke_key
from tests import valkey
from tests.people import Tenant

FEW = 5


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred guesses take a while, and a minute might end in between: a day ends more seldom."""
    monkeypatch.setattr(guessing, "BY_ADDRESS", f"{FEW}/d")
    monkeypatch.setattr(guessing, "BY_KEY", f"{2 * FEW}/d")


@pytest.fixture
def address() -> str:
    """An address that no other test comes from."""
    return f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}::1"


def ask(tenant: Tenant, key: str, address: str) -> Any:
    return Tenant(tenant.client, key).http().get("/v2/me", REMOTE_ADDR=address)


def wrong(tenant: Tenant) -> str:
    """The tenant's key with another secret."""
    return f"{tenant.key[:12]}{uuid4().hex.upper().translate(str.maketrans('ILOU', 'JMPV'))}"


def guess(tenant: Tenant, address: str, times: int = FEW) -> list[int]:
    return [ask(tenant, f"ch_00000000_{number:032}", address).status_code for number in range(times)]


def test_an_address_that_guesses_is_refused_until_its_minute_is_over(bank: Tenant, address: str) -> None:
    assert guess(bank, address) == [401] * FEW

    refused = ask(bank, f"ch_00000000_{'0' * 32}", address)

    assert (refused.status_code, refused.json()["code"]) == (429, "guessing_limited")
    assert 1 <= int(refused["Retry-After"]) <= 86_400
    assert refused["Content-Type"] == "application/problem+json"


def test_what_an_address_sends_then_is_not_looked_at(
    bank: Tenant, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guess(bank, address)
    monkeypatch.setattr(authentication, "_holder", lambda *_: pytest.fail("looked at"))

    assert ask(bank, bank.key, address).status_code == 429


def test_a_key_that_works_goes_on_working_from_there(bank: Tenant, address: str) -> None:
    assert ask(bank, bank.key, address).status_code == 200
    guess(bank, address, FEW + 3)

    for remembered in authentication._remembered.values():
        remembered.until = 0.0  # as a second later

    assert ask(bank, bank.key, address).status_code == 200


def test_a_token_whose_signature_is_right_is_taken_from_there(bank: Tenant, address: str) -> None:
    guess(bank, address, FEW + 3)
    forget_keys()

    assert ask(bank, bank.as_user("alice").key, address).status_code == 200


def test_wrong_tokens_are_guesses_and_what_was_right_once_is_none(bank: Tenant, address: str) -> None:
    spare = create_key(client=bank.client, scopes=SCOPES, actor="test")[1]
    revoke_key(key=ApiKey.objects.get(pk=spare[3:11]), actor="test", now=now())
    assert [ask(bank, spare, address).status_code for _ in range(FEW + 3)] == [401] * (FEW + 3)

    answers = [ask(bank, f"a.b.{number}", address).status_code for number in range(FEW + 1)]

    assert answers == [401] * FEW + [429]


def test_the_neighbours_of_an_address_are_refused_with_it_and_others_are_not(bank: Tenant, address: str) -> None:
    guess(bank, address)

    neighbour, stranger = address.replace("::1", ":0:0:0:7"), "2001:db8:ffff:" + uuid4().hex[:4] + "::1"

    assert ask(bank, "ch_x", neighbour).status_code == 429
    assert ask(bank, "ch_x", stranger).status_code == 401


def test_addresses_are_those_that_our_proxies_saw(bank: Tenant, address: str, settings: Any) -> None:
    settings.TRUSTED_PROXIES = 1

    def through(proxy: str, client: str) -> int:
        sent = Tenant(bank.client, "ch_x").http(**{"X-Forwarded-For": f"{uuid4().hex}, {client}"})
        return sent.get("/v2/me", REMOTE_ADDR=proxy).status_code

    assert [through("10.0.0.1", address) for _ in range(FEW + 1)] == [401] * FEW + [429]
    assert through("10.0.0.1", "2001:db8:eeee:" + uuid4().hex[:4] + "::1") == 401


def test_guesses_at_one_key_from_everywhere_are_refused_and_its_owner_is_let_in(bank: Tenant) -> None:
    def somewhere() -> str:
        return f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}::1"

    answers = [ask(bank, wrong(bank), somewhere()).status_code for _ in range(2 * FEW + 2)]

    assert answers == [401] * (2 * FEW) + [429] * 2
    assert ask(bank, bank.key, somewhere()).status_code == 200


def test_without_redis_nobody_is_refused_and_nothing_fails(bank: Tenant, address: str, settings: Any) -> None:
    settings.CACHES = {"default": configured.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}}

    assert guess(bank, address, FEW + 3) == [401] * (FEW + 3)
    assert ask(bank, bank.key, address).status_code == 200


def test_while_redis_hangs_nobody_is_refused_and_afterwards_it_counts_on(
    bank: Tenant, address: str, settings: Any, tmp_path: Path
) -> None:
    with valkey.Server(tmp_path) as server, valkey.connected(server):
        settings.CACHES = {"default": configured.CACHES["default"] | {"LOCATION": server.url}}
        assert guess(bank, address, FEW + 1) == [401] * FEW + [429]

        server.freeze()
        assert guess(bank, address) == [401] * FEW
        assert ask(bank, bank.key, address).status_code == 200

        server.thaw()
        valkey.until(lambda: guess(bank, address, 1) == [429])


def test_who_has_no_key_at_all_has_not_guessed(bank: Tenant, address: str) -> None:
    sent = bank.http(Authorization="")

    assert [sent.get("/v2/me", REMOTE_ADDR=address).status_code for _ in range(FEW + 3)] == [401] * (FEW + 3)
    assert ask(bank, bank.key, address).status_code == 200
