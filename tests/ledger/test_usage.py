"""Who asks for what of the API: counted whatever is answered, kept by the day, told to operators."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.test import Client as HttpClient
from django.urls import include, path

from config import urls
from config.runtime.clock import now
from config.shutdown import close_process
from ledger.api.v2.accounts import AccountViewSet
from ledger.clients import usage
from ledger.clients.models import RouteUse
from ledger.clients.usage import KEPT_DAYS, forget_usage, keep_usage, usage_of
from tests.commands import run
from tests.ledger.backoffice import Staff
from tests.ledger.locks import in_thread
from tests.people import URL, Tenant, body

handler404 = "config.api.problems.not_found"
# A version 1 that has a route of a client's.
v1 = [*urls.v1, path("accounts/<uuid:pk>", AccountViewSet.as_view({"get": "retrieve"}), name="account")]
urlpatterns = [*urls.urlpatterns[:-1], path("api/v1/", include((v1, "v1")))]
pytestmark = pytest.mark.urls(__name__)
OLD = "/api/v1/accounts/01a00000-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def _nothing_waits() -> Iterator[None]:
    usage._pending.clear()
    yield
    usage._pending.clear()


def kept(bank: Tenant) -> dict[tuple[str, str], int]:
    """Return what is kept of a client today, after what waits was kept."""
    keep_usage()
    rows = RouteUse.objects.filter(client=bank.client, day=now().date())
    return {(row.version, row.operation): row.count for row in rows}


def test_requests_are_counted_by_operation_whatever_is_answered(bank: Tenant, other_bank: Tenant) -> None:
    bank.get("/v2/accounts")
    bank.get("/v2/accounts?nonsense=1")
    bank.post(URL, body())
    bank.get(OLD)
    other_bank.get("/v2/accounts")

    assert kept(bank) == {
        ("v2", "GET /v2/accounts"): 2,
        ("v2", "POST /v2/transactions"): 1,
        ("v1", "GET /api/v1/accounts/<uuid:pk>"): 1,
    }
    assert kept(other_bank) == {("v2", "GET /v2/accounts"): 1}


def test_a_user_s_token_counts_for_its_client(people: Tenant) -> None:
    alice = people.as_user("alice")
    alice.get("/v2/accounts")

    assert kept(people) == {("v2", "POST /v2/tokens"): 1, ("v2", "GET /v2/accounts"): 1}


def test_strangers_unknown_addresses_and_made_up_methods_make_no_rows_of_their_own(bank: Tenant) -> None:
    HttpClient().get("/v2/accounts")
    bank.get("/v2/nothing")
    bank.get("/v2/schema")
    for method in ("BREW", "WHEN"):
        bank.http().generic(method, "/v2/accounts")

    assert kept(bank) == {("v2", "other /v2/accounts"): 2}


def test_what_is_kept_later_is_added(bank: Tenant) -> None:
    for number in (1, 2, 3):
        bank.get("/v2/accounts")
        assert kept(bank) == {("v2", "GET /v2/accounts"): number}
    assert kept(bank) == {("v2", "GET /v2/accounts"): 3}


def test_processes_that_keep_at_once_lose_nothing_and_do_not_block_each_other(bank: Tenant) -> None:
    operations = [f"GET /v2/route{number}" for number in range(50)]

    def write(number: int) -> None:
        asked = [usage._Asked(bank.client.pk, "v2", operation) for operation in operations]
        for _ in range(5):
            usage._write(dict.fromkeys(asked[::-1] if number % 2 else asked, 1), day=now().date())

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(in_thread, partial(write, number)) for number in range(4)]:
            done.result()

    assert kept(bank) == {("v2", operation): 20 for operation in operations}


def test_what_cannot_be_kept_now_is_kept_later(bank: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: Any, **_more: Any) -> None:
        raise ConnectionError("away")

    bank.get("/v2/accounts")
    with monkeypatch.context() as patched:
        patched.setattr(usage, "_write", away)
        with pytest.raises(ConnectionError):
            keep_usage()
    bank.get("/v2/accounts")

    assert kept(bank) == {("v2", "GET /v2/accounts"): 2}


def test_a_process_that_ends_keeps_what_it_counted(bank: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """What else it closes this process goes on to need."""
    for needed in ("config.shutdown.close_pools", "config.shutdown.batching.close_all", "atexit._run_exitfuncs"):
        monkeypatch.setattr(needed, lambda *_: True)
    bank.get("/v2/accounts")

    close_process()

    assert [row.count for row in RouteUse.objects.filter(client=bank.client)] == [1]


def test_a_child_does_not_keep_what_its_parent_counted(bank: Tenant) -> None:
    bank.get("/v2/accounts")

    child = os.fork()
    if child == 0:
        os._exit(len(usage._pending))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    assert kept(bank) == {("v2", "GET /v2/accounts"): 1}


def days_of(bank: Tenant, **counts: int) -> None:
    """Keep `count` requests of an old operation `d{n}` days ago."""
    for name, count in counts.items():
        day = now().date() - timedelta(days=int(name[1:]))
        RouteUse.objects.create(client=bank.client, version="v1", operation="GET /old", day=day, count=count)


def test_usage_tells_how_often_and_since_when(bank: Tenant) -> None:
    days_of(bank, d40=5, d9=4, d2=3)
    today = now().date()

    def told(days: int) -> list[tuple[int, int, int]]:
        found = [one for one in usage_of("v1", since=today - timedelta(days=days)) if one.client == bank.client.name]
        return [(one.requests, (today - one.first_on).days, (today - one.last_on).days) for one in found]

    assert told(400) == [(12, 40, 2)]
    assert told(10) == [(7, 9, 2)]
    assert told(1) == []
    assert bank.client.name not in {one.client for one in usage_of("v2", since=today - timedelta(days=400))}


def test_what_is_older_than_400_days_is_forgotten(bank: Tenant) -> None:
    days_of(bank, d400=1, d401=2)

    assert forget_usage() >= 1

    kept_days = RouteUse.objects.filter(client=bank.client).values_list("day", flat=True)
    assert list(kept_days) == [now().date() - timedelta(days=KEPT_DAYS)]


def test_a_command_names_who_still_needs_v1(bank: Tenant) -> None:
    days_of(bank, d9=1000, d2=234)
    first, last = (now().date() - timedelta(days=days) for days in (9, 2))

    shown, counted = run("api_usage"), run("api_usage", "--since", "30d", "--json")

    assert f"1,234  {first} to {last}  {bank.client.name}  GET /old" in shown.out
    expected = {"client": bank.client.name, "operation": "GET /old", "requests": 1234}
    assert expected | {"first_on": str(first), "last_on": str(last)} in counted.answer["usage"]
    assert counted.answer["version"] == "v1"
    assert bank.client.name not in run("api_usage", "--api", "v2").out


def test_the_back_office_shows_who_asked_for_what(bank: Tenant, other_bank: Tenant) -> None:
    days_of(bank, d2=3)
    days_of(other_bank, d2=4)
    RouteUse.objects.create(client=bank.client, version="v2", operation="GET /new", day=now().date(), count=1)
    viewer = Staff("view_routeuse")

    page = viewer.page("clients_routeuse_changelist", client=bank.client.name, version="v1")

    assert ("GET /old" in page, "GET /new" in page, other_bank.client.name in page) == (True, False, False)
    assert Staff("view_client").get("clients_routeuse_changelist").status_code == 403
