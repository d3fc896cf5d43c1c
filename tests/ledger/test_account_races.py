"""A change of an account and the bookings on it come one after the other; of equal changes one is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from config.localstack.processes import wait_until
from config.runtime.errors import DomainError
from ledger import locks
from ledger.domain.accounts import Frozen
from ledger.queries.invariants import verify
from ledger.services.account_changes import change_limits, close_account, freeze_account
from tests.ledger.locks import in_thread, locked, waiting_for_locks
from tests.ledger.test_account_changes import change, code, told, written
from tests.people import Tenant


def asked(bank: Tenant, account: Any) -> dict[str, Any]:
    return {"client_id": bank.client.pk, "account_id": account.id, "actor": "staff:root", "reason": "a race"}


def outcome(work: Callable[[], Any]) -> str:
    try:
        done = work()
    except DomainError as refusal:
        return refusal.code
    failed = getattr(getattr(done, "transaction", None), "error", None)
    return failed.code if failed else "done"


def in_order(account: Any, *works: Callable[[], Any]) -> list[str]:
    """Let each wait for the lock of an account in this order, on a connection of its own; return what came of them."""
    with locked(account) as holder, ThreadPoolExecutor(len(works)) as pool:
        queued: list[Future[str]] = []
        for number, work in enumerate(works, 1):
            queued.append(pool.submit(in_thread, partial(outcome, work)))
            assert wait_until(lambda: waiting_for_locks() == number, timeout_s=4)  # noqa: B023  (waited for at once)
        holder.execute("COMMIT")
        return [one.result() for one in queued]


def test_money_that_comes_first_keeps_the_account_open(bank: Tenant) -> None:
    alice = bank.person("alice")
    came, closed = in_order(
        alice, lambda: bank.move("cash:USD", alice.path, "1.00"), lambda: close_account(**asked(bank, alice))
    )
    assert (came, closed) == ("done", "account_not_empty")
    assert (bank.account(alice.path).status, bank.posted(alice)) == ("active", 100)
    assert told(bank, alice).count("account.closed") == 0


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_money_that_comes_after_a_closing_is_refused(bank: Tenant, settings: Any, isolation: str) -> None:
    settings.LEDGER_ISOLATION = isolation
    alice = bank.person("alice")
    closed, came = in_order(
        alice, lambda: close_account(**asked(bank, alice)), lambda: bank.move("cash:USD", alice.path, "1.00")
    )
    assert (closed, came) == ("done", "account_closed")
    assert (bank.account(alice.path).status, bank.posted(alice)) == ("closed", 0)


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_money_that_comes_after_a_freeze_is_refused(bank: Tenant, settings: Any, isolation: str) -> None:
    settings.LEDGER_ISOLATION = isolation
    alice = bank.person("alice")
    frozen, came = in_order(
        alice,
        lambda: freeze_account(sides=Frozen.CREDITS, **asked(bank, alice)),
        lambda: bank.move("cash:USD", alice.path, "1.00"),
    )
    assert (frozen, came) == ("done", "account_frozen")
    assert (bank.account(alice.path).frozen, bank.posted(alice)) == ("credits", 0)


def test_money_that_goes_first_is_gone_when_a_floor_is_asked_for(bank: Tenant) -> None:
    alice = bank.person("alice", holding="10.00")
    went, raised = in_order(
        alice,
        lambda: bank.move(alice.path, "cash:USD", "8.00"),
        lambda: change_limits(floor="5.00", **asked(bank, alice)),
    )
    assert (went, raised) == ("done", "floor_above_available")
    assert (bank.account(alice.path).floor, bank.posted(alice)) == ("0.00", 200)


def test_a_floor_that_is_raised_first_keeps_the_money(bank: Tenant) -> None:
    alice = bank.person("alice", holding="10.00")
    raised, went = in_order(
        alice,
        lambda: change_limits(floor="5.00", **asked(bank, alice)),
        lambda: bank.move(alice.path, "cash:USD", "8.00"),
    )
    assert (raised, went) == ("done", "insufficient_funds")
    assert (bank.account(alice.path).floor, bank.posted(alice)) == ("5.00", 1000)


def test_of_two_freezes_of_one_side_each_the_second_keeps_the_first(bank: Tenant) -> None:
    alice = bank.person("alice")
    both = in_order(
        alice,
        lambda: freeze_account(sides=Frozen.DEBITS, **asked(bank, alice)),
        lambda: freeze_account(sides=Frozen.CREDITS, **asked(bank, alice)),
    )
    assert both == ["done", "done"]
    assert bank.account(alice.path).frozen == "both"


@pytest.mark.parametrize(
    ("action", "body", "refusal"),
    [
        ("freeze", {}, "account_already_frozen"),
        ("close", {}, "account_already_closed"),
        ("limits", {"floor": "-1.00"}, "limits_unchanged"),
    ],
)
def test_of_ten_equal_changes_exactly_one_is_made(bank: Tenant, action: str, body: Any, refusal: str) -> None:
    alice = bank.person("alice")
    with ThreadPoolExecutor(10) as pool:
        sent = [pool.submit(in_thread, lambda: change(bank, alice, action, **body)) for _ in range(10)]
        answers = [one.result() for one in sent]
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 9}
    assert {code(answer) for answer in answers if answer.status_code == 409} == {(409, refusal)}
    assert len(told(bank, alice)) == 2
    assert len(written(bank, alice)[2]) == 1
    assert verify(client_id=bank.client.pk).holds


def test_ten_equal_requests_with_one_key_are_one_change(bank: Tenant) -> None:
    alice = bank.person("alice")
    with ThreadPoolExecutor(10) as pool:
        sent = [pool.submit(in_thread, lambda: change(bank, alice, "freeze", key="once")) for _ in range(10)]
        answers = [one.result() for one in sent]
    assert {answer.status_code for answer in answers} == {200}
    assert Counter("Idempotent-Replayed" in answer for answer in answers) == {False: 1, True: 9}
    assert {answer.json()["frozen"] for answer in answers} == {"both"}
    assert told(bank, alice) == ["account.opened", "account.frozen"]


def test_an_account_that_stays_locked_is_not_changed_and_the_refusal_says_so(
    bank: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SET_LOCK_TIMEOUT", "SET LOCAL lock_timeout = 100")
    alice = bank.person("alice")
    before = written(bank, alice)
    with locked(alice):
        answer = change(bank, alice, "freeze", key="once")
    assert (code(answer), answer["Retry-After"]) == ((503, "lock_timeout"), "1")
    assert written(bank, alice) == before
    assert change(bank, alice, "freeze", key="once").status_code == 200
