"""First pages of lists: shown again until somebody writes what is in them, whoever that is, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from prometheus_client import REGISTRY

from config.localstack.ports import free_port
from config.runtime.cache import cache
from config.runtime.cache.cache import VersionedCache
from config.runtime.clock import now, rfc3339
from config.runtime.redis import RedisAway, redis_client
from config.schedule import JOBS, run_job
from ledger import lists
from ledger.clients.authentication import forget_keys
from ledger.events.first import Behind, First, NotTold
from ledger.events.lag import age_s
from ledger.events.relay import in_turn
from ledger.events.stream import Event, read_window
from ledger.models import Transaction
from ledger.posting import report
from ledger.queries import transactions as queries
from ledger.services import retry
from ledger.services.batches.turns import post_due_batch
from ledger.services.holds import expire_holds
from ledger.services.posting import post_due
from tests.ledger.consumed import Shelf, asked, consumer_of, message
from tests.ledger.followed import ALL, CURSORS, Diary, begun, caught_up, execute, numbered
from tests.ledger.queueing import emptied
from tests.ledger.test_retry import Failing, contended
from tests.people import URL, Tenant, body
from tests.valkey import Server, connected

__all__ = ["contended"]

LISTS = (URL, f"{URL}?user_id=bob&status=completed", f"{URL}?account=users:alice:USD", f"{URL}?account=cash:USD")


@pytest.fixture(autouse=True)
def _slow_machines_keep_lists_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "UNSURE_S", 300)


@pytest.fixture
def people(people: Tenant) -> Tenant:
    emptied()
    return people


@pytest.fixture
def first(db: None) -> First:
    """Who is told first, beginning with what happens from now on, under a name of its own."""
    made = First(lists.bump_again, f"first:{uuid4().hex}")
    begun(made)
    return made


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes die between a commit and its bump."""
    monkeypatch.setattr(report, "bump", lambda _: None)


def hits() -> float:
    return REGISTRY.get_sample_value("cache_reads_total", {"cache": "transactions", "outcome": "hit"}) or 0.0


def read(tenant: Tenant, url: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Return what the database has."""
    with monkeypatch.context() as patch:
        patch.setattr(lists._cache, "_is_on", False)
        return tenant.get(url).content  # type: ignore[no-any-return]


def shown(tenant: Tenant, url: str) -> bytes:
    answer = tenant.get(url)
    assert answer.status_code == 200, answer.content
    return answer.content  # type: ignore[no-any-return]


def is_kept(tenant: Tenant, url: str) -> bool:
    """Tell whether a list is shown without being read; it is kept from now on."""
    before = hits()
    shown(tenant, url)
    return hits() == before + 1


def ids(answer: Any) -> list[str]:
    return [row["id"] for row in answer.json()["data"]]


def test_a_list_is_read_once_and_shown_again_as_it_was_with_the_same_tag(people: Tenant) -> None:
    answer = people.get(URL)

    with CaptureQueriesContext(connection) as asked_for:
        again = people.get(URL)

    assert not [one["sql"] for one in asked_for if "ledger_transaction" in one["sql"]]
    assert again.content == answer.content
    assert (again["ETag"], again["Content-Type"]) == (answer["ETag"], "application/json")
    assert people.http().get(URL, headers={"If-None-Match": answer["ETag"]}).status_code == 304


def leg(name: str, side: str, amount: str) -> dict[str, str]:
    return {"account": f"users:{name}:USD", "side": side, "amount": amount, "currency": "USD"}


def _held(bank: Tenant) -> str:
    answer = bank.post(URL, body(capture="manual", amount="2.00"))
    assert answer.json()["status"] == "pending"
    return str(answer.json()["id"])


def _done(answer: Any, status: int) -> None:
    assert answer.status_code == status, answer.content


def _accepted(bank: Tenant, **more: Any) -> str:
    answer = bank.post(URL, body(**more), Prefer="respond-async")
    _done(answer, 202)
    return str(answer.json()["id"])


def _consumed(bank: Tenant) -> None:
    shelf = Shelf([message(asked())])
    consumer_of(bank, shelf).consume(timeout_s=0)
    assert not shelf.laid


Step = Callable[[Tenant], Any]
# By what is written: what stands before, and the write, which is given it.
WRITES: dict[str, tuple[Step | None, Callable[[Tenant, Any], Any]]] = {
    "waited for": (None, lambda bank, _: _done(bank.post(URL, body()), 201)),
    "failed": (None, lambda bank, _: _done(bank.post(URL, body("999.00")), 409)),
    "accepted": (None, lambda bank, _: _accepted(bank)),
    "accepted for later": (None, lambda bank, _: _accepted(bank, execute_at=rfc3339(now() + timedelta(hours=1)))),
    "posted": (_accepted, lambda _, __: post_due(0)),
    "held": (None, lambda bank, _: _held(bank)),
    "captured": (_held, lambda bank, held: _done(bank.post(f"{URL}/{held}/capture", {}), 200)),
    "captured in part": (
        _held,
        lambda bank, held: _done(bank.post(f"{URL}/{held}/capture", {"amount": "1.00", "final": False}), 200),
    ),
    "voided": (_held, lambda bank, held: _done(bank.post(f"{URL}/{held}/void", {}), 200)),
    "expired": (_held, lambda _, __: expire_holds(now() + timedelta(days=8))),
    "reversed in part": (
        lambda bank: bank.post(URL, body("2.00")).json()["id"],
        lambda bank, made: _done(bank.post(f"{URL}/{made}/reverse", {"amount": "1.00"}), 201),
    ),
    "a batch": (None, lambda bank, _: _done(bank.post(f"{URL}/batch", {"mode": "partial", "items": [body()]}), 207)),
    "a batch in turns": (
        lambda bank: bank.post(f"{URL}/batch", {"mode": "partial", "items": [body()]}, Prefer="respond-async"),
        lambda _, __: post_due_batch(),
    ),
    "by legs": (
        None,
        lambda bank, _: _done(
            bank.post(
                URL,
                {"type": "transfer", "legs": [leg("alice", "debit", "1.00"), leg("bob", "credit", "1.00")]},
            ),
            201,
        ),
    ),
    "consumed": (None, lambda bank, _: _consumed(bank)),
    "by a service": (None, lambda bank, _: bank.move("cash:USD", "users:alice:USD", "1.00", type="cash_in")),
}


@pytest.mark.parametrize("write", WRITES)
def test_whatever_is_written_is_in_the_next_answer(people: Tenant, write: str, monkeypatch) -> None:
    before, act = WRITES[write]
    made = before(people) if before is not None else None
    askers = [*((people, url) for url in LISTS), (people.as_user("alice"), URL)]
    old = [shown(tenant, url) for tenant, url in askers]

    act(people, made)

    assert [shown(tenant, url) for tenant, url in askers] == [read(tenant, url, monkeypatch) for tenant, url in askers]
    assert shown(people, URL) != old[0]


def test_a_retry_is_in_the_next_answer(people: Tenant, contended: Failing) -> None:
    failed = contended()
    assert people.get(URL).json()["data"][0]["status"] == "failed"

    _done(people.http().post(f"{URL}/{failed}/retry", data="", content_type="application/json"), 202)

    assert people.get(URL).json()["data"][0]["status"] == "processing"


def test_what_touches_neither_a_user_nor_an_account_leaves_their_lists(people: Tenant) -> None:
    people.person("carol", holding="10.00")
    people.person("dave")
    kept = (f"{URL}?user_id=alice", f"{URL}?account=users:bob:USD", f"{URL}?account=cash:USD")
    for url in (URL, *kept):
        shown(people, url)

    people.move("users:carol:USD", "users:dave:USD", "1.00")

    assert all(is_kept(people, url) for url in kept)
    assert not is_kept(people, URL)


def test_a_list_of_two_users_is_read_again_where_a_third_one_had_a_leg(people: Tenant) -> None:
    people.person("carol")
    url = f"{URL}?user_id=bob&account=users:carol:USD"
    assert ids(people.get(url)) == []
    legs = [("alice", "debit", "2.00"), ("bob", "credit", "1.00"), ("carol", "credit", "1.00")]

    _done(people.post(URL, {"type": "transfer", "legs": [leg(*one) for one in legs]}), 201)

    assert len(ids(people.get(url))) == 1


def test_a_dry_run_and_a_refusal_leave_the_lists(people: Tenant) -> None:
    shown(people, URL)

    _done(people.post(f"{URL}?dry_run=true", body()), 200)
    _done(people.post(URL, body(credit="nobody")), 422)

    assert is_kept(people, URL)


def test_nobody_is_shown_what_is_kept_for_another(people: Tenant, other_bank: Tenant) -> None:
    other_bank.person("alice")
    alice, bob = people.as_user("alice"), people.as_user("bob")
    people.move("users:alice:USD", "users:bob:USD", "1.00")
    for _ in range(2):
        assert len(ids(people.get(URL))) == 2
        assert ids(other_bank.get(URL)) == ids(other_bank.as_user("alice").get(URL)) == []
        assert len(ids(alice.get(URL))) == 2
        assert len(ids(bob.get(URL))) == 1
        assert ids(bob.get(f"{URL}?user_id=alice")) == []
        assert ids(bob.get(f"{URL}?account=users:alice:USD")) == []
        assert ids(other_bank.get(f"{URL}?account=users:alice:USD")) == []


def test_a_user_is_not_shown_the_side_of_others_that_is_kept_for_a_key(people: Tenant) -> None:
    people.open("fees:USD", kind="income")
    bob, url = people.as_user("bob"), f"{URL}?account=users:bob:USD"
    _done(people.post(URL, body(fee="0.10")), 201)

    fees = [tenant.get(url).json()["data"][0]["fee"] for tenant in (people, bob) * 2]

    assert fees == ["0.10", None] * 2


def test_other_filters_limits_and_releases_are_other_lists(people: Tenant, settings: Any) -> None:
    urls = (URL, f"{URL}?limit=1", f"{URL}?status=failed", f"{URL}?user_id=bob", f"{URL}?user_id=alice")
    assert [is_kept(people, url) for url in urls] == [False] * 5
    assert [len(ids(people.get(url))) for url in urls] == [1, 1, 0, 0, 1]

    assert is_kept(people, f"{URL}?limit=50")
    settings.RELEASE = "next"
    assert not is_kept(people, URL)


def test_pages_after_the_first_and_accounts_that_are_not_there_are_read(people: Tenant) -> None:
    people.move("users:alice:USD", "users:bob:USD", "1.00")
    cursor = people.get(f"{URL}?limit=1").json()["next_cursor"]
    for url in (f"{URL}?limit=1&cursor={cursor}", f"{URL}?account=users:carol:USD"):
        assert [is_kept(people, url) for _ in range(2)] == [False, False]

    people.person("carol", holding="1.00")

    assert len(ids(people.get(f"{URL}?account=users:carol:USD"))) == 1


def test_balances_are_always_read(people: Tenant) -> None:
    alice = people.account("users:alice:USD")
    before = hits()
    urls = ("/v2/accounts", f"/v2/accounts/{alice.id}", f"/v2/accounts/{alice.id}/balance")
    for url in (*urls, f"/v2/accounts/{alice.id}/entries", "/v2/trial-balance") * 2:
        shown(people, url)

    assert hits() == before


def test_a_key_that_is_revoked_reads_nothing_that_is_kept(people: Tenant) -> None:
    shown(people, URL)
    key = people.key.split("_")[1]
    _done(people.post(f"/v2/keys/{key}/revoke", {"reason": "leaked"}), 200)
    forget_keys()  # as every process does within a second

    assert people.get(URL).status_code == 401


def test_without_redis_a_write_is_in_the_next_answer(people: Tenant, tmp_path: Path, monkeypatch) -> None:
    with Server(tmp_path) as server, connected(server) as client:
        monkeypatch.setattr(lists, "_cache", VersionedCache(client, ttl_s=300))
        shown(people, URL)
        assert is_kept(people, URL)
        server.freeze()

        made = people.post(URL, body())

        assert ids(people.get(URL))[0] == made.json()["id"]
        server.thaw()
        assert ids(people.get(URL))[0] == made.json()["id"]


def test_switched_off_lists_are_read(people: Tenant, monkeypatch) -> None:
    shown(people, URL)
    monkeypatch.setattr(lists._cache, "_is_on", False)

    assert not is_kept(people, URL)


@pytest.mark.parametrize("write", ["failed", "posted", "captured", "by legs"])
def test_what_a_dying_process_left_is_shown_once_the_relay_has_told_of_it(
    people: Tenant, first: First, write: str, monkeypatch
) -> None:
    before, act = WRITES[write]
    made = before(people) if before is not None else None
    askers = [*((people, url) for url in LISTS), (people.as_user("alice"), URL)]
    old = [shown(tenant, url) for tenant, url in askers]
    with monkeypatch.context() as patch:
        patch.setattr(report, "bump", lambda _: None)
        act(people, made)
    assert [shown(tenant, url) for tenant, url in askers] == old

    caught_up_from_now(first)

    assert [shown(tenant, url) for tenant, url in askers] == [read(tenant, url, monkeypatch) for tenant, url in askers]


def caught_up_from_now(follower: Any) -> None:
    """Have the events numbered, and a follower take them."""
    numbered()
    caught_up(follower)


def test_the_account_of_a_fee_that_was_not_booked_is_told_of_too(people: Tenant, first: First, dying: None) -> None:
    people.open("fees:USD", kind="income")
    url = f"{URL}?account=fees:USD"
    assert ids(people.get(url)) == []
    _done(people.post(URL, body("999.00", fee="1.00")), 409)
    assert ids(people.get(url)) == []

    caught_up_from_now(first)

    assert len(ids(people.get(url))) == 1


def test_what_was_bumped_is_left_by_the_relay(people: Tenant, first: First) -> None:
    url = f"{URL}?user_id=alice"
    shown(people, url)
    people.post(URL, body())
    shown(people, url)

    caught_up_from_now(first)

    assert is_kept(people, url)


def test_of_two_writes_the_one_that_bumped_does_not_stand_for_the_other(people: Tenant, first: First, dying) -> None:
    """The one that died committed later, and stands before the other: positions are given by ids."""
    url = f"{URL}?user_id=alice"
    shown(people, url)
    bumped = people.post(URL, body()).json()
    lists._cache.bump({people.client.pk: {"user:alice": f"{UUID(bumped['id']).hex}:{bumped['version']}"}})
    assert bumped["id"] in ids(people.get(url))
    died = people.post(URL, body()).json()
    assert died["id"] not in ids(people.get(url))
    numbered()
    window = read_window(first.name, ALL)
    assert window is not None

    lists.bump_again([*reversed(window.events)])

    assert died["id"] in ids(people.get(url))


def test_a_listener_that_is_told_finds_the_list_no_older(people: Tenant, dying: None) -> None:
    diary, found = Diary(), list[list[str]]()
    follower = Behind(lists.bump_again, diary.follower)
    begun(follower)
    shown(people, URL)
    made = people.post(URL, body()).json()
    key = people.account("users:alice:USD").id
    diary.afterwards[key] = lambda: found.append(ids(people.get(URL)))

    caught_up_from_now(follower)

    assert found[0][0] == made["id"]
    assert diary.heard(key)


def test_without_redis_the_first_is_told_later_and_the_others_now(people: Tenant, first: First, monkeypatch) -> None:
    away = VersionedCache(redis_client(f"redis://127.0.0.1:{free_port(0)}"), ttl_s=300)
    listener = Behind(first.tell, Diary().follower)
    begun(listener)
    people.post(URL, body())
    before = execute(CURSORS, first.name)

    with monkeypatch.context() as patch:
        patch.setattr(lists, "_cache", away)
        with pytest.raises(NotTold):
            caught_up_from_now(first)
        caught_up_from_now(listener)

    assert execute(CURSORS, first.name) == before
    assert execute(CURSORS, listener.name)[0][0] > before[0][0]
    caught_up_from_now(first)
    assert execute(CURSORS, first.name) == execute(CURSORS, listener.name)


def test_an_event_that_only_a_later_release_reads_is_passed_over(first: First) -> None:
    later = Event(1, uuid4(), 1, None, "transaction.completed", uuid4(), 1, now(), '{"id": 7}', "")

    first.take_again(later)


def test_who_asks_again_for_what_a_dying_process_accepted_finds_it(people: Tenant, monkeypatch) -> None:
    key = str(uuid4())
    later = body(execute_at=rfc3339(now() + timedelta(hours=1)))
    shown(people, URL)
    with monkeypatch.context() as patch:
        patch.setattr(report, "bump", lambda _: None)
        made = people.post(URL, later, key=key)
    assert made.json()["id"] not in ids(people.get(URL))

    assert people.post(URL, later, key=key)["Idempotent-Replayed"] == "true"

    assert made.json()["id"] in ids(people.get(URL))


def test_who_retries_again_what_a_dying_process_retried_finds_it(
    people: Tenant, contended: Failing, monkeypatch
) -> None:
    failed = contended()
    shown(people, URL)

    def send() -> Any:
        headers = {"Idempotency-Key": "once"}
        return people.http().post(f"{URL}/{failed}/retry", data="", content_type="application/json", headers=headers)

    with monkeypatch.context() as patch:
        patch.setattr(retry, "bump_stored", lambda _: None)
        _done(send(), 202)
    assert people.get(URL).json()["data"][0]["status"] == "failed"

    assert send()["Idempotent-Replayed"] == "true"

    assert people.get(URL).json()["data"][0]["status"] == "processing"


@pytest.mark.parametrize(("age_s", "said"), [(0.0, 1), (1.9, 1), (2.1, 0), (None, 0)])
def test_kept_answers_live_long_only_while_the_relay_follows(age_s: float | None, said: int, monkeypatch) -> None:
    times: list[None] = []
    monkeypatch.setattr(lists, "age_s", lambda _: age_s)
    monkeypatch.setattr(lists._cache, "show_followed", lambda: times.append(None))

    lists.show_followed()

    assert len(times) == said


def test_a_follower_is_as_old_as_what_it_has_not_taken(people: Tenant, first: First) -> None:
    assert age_s("first:nobody") is None
    caught_up_from_now(first)
    assert age_s(first.name) == 0
    people.post(URL, body())
    assert (age_s(first.name) or 0) > 0  # without a position
    numbered()
    assert (age_s(first.name) or 0) > 0
    caught_up(first)
    assert age_s(first.name) == 0


def test_the_relay_tells_first_and_the_schedule_says_so(db: None, monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(lists, "age_s", {First(lists.bump_again).name: 0.0}.get)
    monkeypatch.setattr(lists._cache, "show_followed", lambda: said.append("followed"))
    first, behind = in_turn([Diary().follower])

    assert first == First(lists.bump_again)
    assert isinstance(behind, Behind)
    assert behind.tell == lists.bump_again
    assert [run_job(job) for job in JOBS if job.name == "cache_followed"] == [True]
    assert said == ["followed"]


def test_no_status_shows_less_than_a_kept_list_has_shown(people: Tenant, monkeypatch) -> None:
    """Another process books it and fills the list; this one remembers from a moment ago that it is processing."""
    accepted = _accepted(people)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(report, "announce", lambda *_, **__: None)
        elsewhere.setattr(queries, "saw", lambda *_, **__: None)
        assert post_due(0) == 1
        shown(people, URL)

    assert people.get(URL).json()["data"][0]["status"] == "completed"

    assert people.get(f"{URL}/{accepted}/status").json()["status"] == "completed"


def test_a_bump_that_redis_refuses_is_no_error_of_the_write(people: Tenant, monkeypatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RedisAway

    monkeypatch.setattr("config.runtime.cache.store.Store.bump", refuse)
    made = people.post(URL, body())

    _done(made, 201)
    assert Transaction.objects.filter(pk=UUID(made.json()["id"])).exists()
    assert ids(people.get(URL))[0] == made.json()["id"]
    monkeypatch.undo()
    lists._cache.pay()
    assert not lists._cache.is_behind
