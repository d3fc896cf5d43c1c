"""Quotas of a service of two processes on a Redis that is killed, frozen and back."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path
from statistics import median

import pytest

from config.runtime.redis import GuardedRedis, RedisAway
from ledger.clients.models import RouteUse
from tests.acceptance.server import Server as Web
from tests.people import Tenant
from tests.valkey import Server, connected, until

BURST, PER_MINUTE = 50, 60
THREADS = 8


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


@pytest.fixture
def web(redis: Server, tmp_path: Path) -> Iterator[Web]:
    quota = {"DRAIN_S": "0", "QUOTA_STANDARD_BURST": str(BURST), "QUOTA_STANDARD_PER_MINUTE": str(PER_MINUTE)}
    with Web(workers=2, log=tmp_path / "web.log", REDIS_URL=redis.url, **quota) as running:
        yield running


def new_bank() -> Tenant:
    return Tenant.new(tier="standard", scopes=["accounts:read"])


@pytest.fixture
def bank(db) -> Tenant:
    return new_bank()


def ask(web: Web, tenant: Tenant) -> tuple[int, Message, float]:
    """Return status, headers, and how long it took."""
    begun = time.monotonic()
    request = urllib.request.Request(f"{web.base_url}/v2/accounts", headers={"Authorization": f"Bearer {tenant.key}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, time.monotonic() - begun
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, time.monotonic() - begun


def ask_at_once(web: Web, tenant: Tenant, times: int) -> list[tuple[int, Message, float]]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda _: ask(web, tenant), range(times)))


def test_two_processes_let_a_burst_pass_to_the_token_and_keep_who_asked(web: Web, bank: Tenant) -> None:
    begun = time.monotonic()
    answers = ask_at_once(web, bank, BURST + 30)
    passed = [status for status, _, _ in answers].count(200)

    assert {status for status, _, _ in answers} == {200, 429}
    assert BURST <= passed <= BURST + 1 + (time.monotonic() - begun) * PER_MINUTE / 60
    assert all(headers["RateLimit"] and headers["RateLimit-Policy"] for _, headers, _ in answers)

    assert web.stop(within_s=10) == 0
    used = RouteUse.objects.filter(client=bank.client, operation="GET /v2/accounts")
    assert sum(row.count for row in used) == BURST + 30


@pytest.mark.parametrize(
    ("stop", "bring_back"), [(Server.kill, Server.start), (Server.freeze, Server.thaw)], ids=["killed", "frozen"]
)
def test_without_redis_everybody_is_answered_and_each_process_counts_alone(
    web: Web, redis: Server, bank: Tenant, stop: Callable[[Server], None], bring_back: Callable[[Server], None]
) -> None:
    assert {status for status, _, _ in ask_at_once(web, bank, 10)} == {200}
    stop(redis)

    answers = ask_at_once(web, bank, 3 * BURST)

    assert {status for status, _, _ in answers} == {200, 429}
    assert BURST - 10 <= [status for status, _, _ in answers].count(200) <= 2 * BURST + 20
    assert median(took_s for _, _, took_s in answers) < 1

    bring_back(redis)
    with connected(redis) as client:
        until(lambda: is_counted_there(web, client))


def is_counted_there(web: Web, redis: GuardedRedis) -> bool:
    bank = new_bank()
    assert ask(web, bank)[0] == 200
    try:
        return bool(redis.exists(f"quota:{{{bank.client.public_id}}}"))
    except RedisAway:
        return False
