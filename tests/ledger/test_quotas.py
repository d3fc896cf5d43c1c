"""Quotas at the door: what a client may ask for, what each answer tells of it, and who shares it."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path
from typing import Any

import pytest
from django.test import Client as HttpClient

from config.urls import v2
from ledger.clients.services import create_key
from ledger.clients.tiers import ITEMS_PER_TOKEN, TIERS, TierLimits, batch_cost
from tests.people import URL, Tenant, body

FREE = '"burst";q=20;w=20, "minute";q=60;w=60'
ACCOUNTS = "/v2/accounts"


@pytest.fixture
def free(db) -> Tenant:
    return Tenant.new(tier="free", scopes=["accounts:read", "transactions:read", "transactions:write"])


def get(tenant: Tenant, path: str = ACCOUNTS, key: str = "", **headers: Any) -> Any:
    sent = {"Authorization": f"Bearer {key or tenant.key}"} | headers
    return HttpClient(raise_request_exception=False).get(path, headers=sent)


def left(answer: Any) -> tuple[int, int]:
    """Return what is left of the burst, and the seconds."""
    found = re.fullmatch(r'"burst";r=(\d+);t=(\d+)', answer["RateLimit"])
    assert found is not None
    return int(found[1]), int(found[2])


def until_refused(tenant: Tenant, *keys: str) -> tuple[list[Any], Any]:
    """Ask with one key after the other; return the answers until one was refused, and that one.

    The clock is the server's: while twenty are asked some come in, one a second.
    """
    begun, answers = time.monotonic(), [get(tenant, key=keys[0])]
    while answers[-1].status_code == 200:
        answers.append(get(tenant, key=keys[len(answers) % len(keys)]))
    assert 20 <= len(answers) - 1 <= 21 + time.monotonic() - begun
    return answers[:-1], answers[-1]


def test_a_burst_is_answered_whole_and_the_next_request_is_not(free: Tenant) -> None:
    answers, refused = until_refused(free, free.key)

    told = [left(answer)[0] for answer in answers]
    assert (told[0], told[-1]) == (19, 0)
    assert all(later in {earlier, earlier - 1} for earlier, later in itertools.pairwise(told))
    assert {answer["RateLimit-Policy"] for answer in (*answers, refused)} == {FREE}
    assert (left(answers[0])[1], left(answers[-1])[1]) == (1, 20)
    assert (refused.status_code, refused["Retry-After"], left(refused)) == (429, "1", (0, 1))
    assert (refused["Content-Type"], refused.json()["code"]) == ("application/problem+json", "quota_exceeded")


def test_who_waits_as_told_is_answered(free: Tenant) -> None:
    _, refused = until_refused(free, free.key)

    time.sleep(int(refused["Retry-After"]))

    assert get(free).status_code == 200


def test_all_keys_of_a_client_share_its_quota_and_no_other_client_does(free: Tenant) -> None:
    second = create_key(client=free.client, scopes=["accounts:read"], actor="test")[1]
    other = Tenant.new(tier="free", scopes=["accounts:read"])

    until_refused(free, free.key, second)

    assert left(get(other)) == (19, 1)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        pytest.param("GET", ACCOUNTS, {}, 200, id="answered"),
        pytest.param("GET", f"{ACCOUNTS}?bogus=1", {}, 400, id="malformed"),
        pytest.param("GET", "/v2/events", {}, 403, id="beyond its scopes"),
        pytest.param("GET", "/v2/accounts/01980000-0000-7000-8000-000000000000", {}, 404, id="not there"),
        pytest.param("PUT", ACCOUNTS, {}, 405, id="no such method"),
        pytest.param("GET", ACCOUNTS, {"Accept": "image/png"}, 406, id="not acceptable"),
        pytest.param("POST", "/v2/transactions", {"Idempotency-Key": "a"}, 415, id="of another type"),
    ],
)
def test_every_answer_to_a_client_tells_and_costs_one(
    free: Tenant, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    http = HttpClient(headers={"Authorization": f"Bearer {free.key}"} | headers)

    answers = [http.generic(method, path, b"x" if status == 415 else b"", content_type="text/plain") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [status] * 2
    assert [(answer["RateLimit-Policy"], left(answer)[0]) for answer in answers] == [(FREE, 19), (FREE, 18)]
    assert [answer.get("Retry-After") for answer in answers] == [None] * 2


def test_an_answer_of_500_tells_too(free: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ledger.api.v2.accounts.AccountViewSet.list", fail)

    answer = get(free)

    assert (answer.status_code, answer["RateLimit"]) == (500, '"burst";r=19;t=1')


def test_who_is_nobody_is_told_nothing(db) -> None:
    unknown = HttpClient().get(ACCOUNTS, headers={"Authorization": "Bearer ch_00000000_" + "0" * 32})

    for answer in (HttpClient().get(ACCOUNTS), unknown):
        assert answer.status_code == 401
        assert not {"RateLimit", "RateLimit-Policy"} & answer.headers.keys()


def test_monitors_ask_for_nothing(db) -> None:
    monitor = Tenant.new(tier="free", scopes=["health:read", "metrics:read"])

    answers = [get(monitor, path) for path in ("/v2/health", "/v2/health/metrics") * 15]

    assert [answer.status_code for answer in answers] == [200] * 30
    assert {left(answer) for answer in answers} == {(20, 0)}


def batch(tenant: Tenant, count: int, *, key: str) -> Any:
    items = [body() | {"amount": "nothing"}] * count
    sent = {"Authorization": f"Bearer {tenant.key}", "Idempotency-Key": key}
    return HttpClient().post(f"{URL}/batch?dry_run=true", {"items": items}, "application/json", headers=sent)


@pytest.mark.parametrize(("count", "cost"), [(1, 1), (20, 1), (21, 2), (200, 10)])
def test_a_batch_costs_a_token_for_each_twenty_items_begun(free: Tenant, count: int, cost: int) -> None:
    answer = batch(free, count, key="one")

    assert (answer.status_code, left(answer)[0]) == (207, 20 - cost)


def test_a_batch_that_the_quota_does_not_cover_is_refused_and_costs_what_a_request_costs(free: Tenant) -> None:
    assert [batch(free, 180, key=key).status_code for key in ("one", "two")] == [207, 207]

    refused = batch(free, 200, key="three")

    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert int(refused["Retry-After"]) >= 6
    assert get(free).status_code == 200


def test_a_batch_is_no_larger_than_the_tier_allows(free: Tenant) -> None:
    refused = batch(free, 201, key="one")

    problem = refused.json()
    assert (refused.status_code, problem["code"], problem["items_max"]) == (413, "batch_over_tier", 200)
    assert problem["detail"] == "The batch has 201 items; tier free allows 200."
    assert left(refused)[0] == 19


def test_what_asks_much_of_the_database_costs_more(free: Tenant) -> None:
    assert left(get(free, "/v2/trial-balance"))[0] == 15


@pytest.mark.parametrize("limits", TIERS.values(), ids=list(TIERS))
def test_half_a_burst_pays_for_the_largest_batch_of_every_tier(limits: TierLimits) -> None:
    assert batch_cost(limits.batch_items) <= limits.quota.burst / 2


def declared_costs() -> dict[str, int]:
    """Return the cost of every operation that does not cost 1, such as `GET /v2/trial-balance`."""
    found: dict[str, int] = {}
    for route in v2:
        view, actions = getattr(route.callback, "cls", None), getattr(route.callback, "actions", None)
        costs = getattr(view, "quota_costs", {})
        operations = actions.items() if actions else [(name.lower(), name) for name in costs]
        address = "/v2/" + re.sub(r"<\w+:\w+>", "{id}", str(route.pattern))
        found |= {
            f"{method.upper()} {address}": costs[name]
            for method, name in operations
            if name in costs and method != "head"
        }
    return found


def test_every_cost_belongs_to_an_operation_that_there_is() -> None:
    views = {view for route in v2 if (view := getattr(route.callback, "cls", None))}

    assert len(declared_costs()) == sum(len(getattr(view, "quota_costs", {})) for view in views)


def test_the_page_of_limits_tells_what_the_code_does() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "limits.md").read_text()
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:2] == "| "]

    assert {row[0]: row[1:] for row in rows if row[0] in TIERS} == {
        tier: [
            f"{number:,}"
            for number in (
                limits.quota.per_minute,
                limits.quota.burst,
                limits.batch_items,
                limits.export_rows,
                limits.webhook_endpoints,
                limits.concurrent_jobs,
            )
        ]
        for tier, limits in TIERS.items()
    }
    by_the_items = {"POST /v2/transactions/batch": f"1 for each {ITEMS_PER_TOKEN} items begun"}
    assert {row[0]: row[1] for row in rows if re.match(r"[A-Z]+ /", row[0])} == by_the_items | {
        operation: str(cost) for operation, cost in declared_costs().items()
    }
