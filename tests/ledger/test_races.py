"""Many at once, over real connections: every invariant holds, and who loses a race is told so by name."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest

from config.localstack.processes import wait_until
from config.runtime.errors import DomainError
from ledger.domain.accounts import Frozen
from ledger.errors import PostingContended
from ledger.events.models import OutboxEvent
from ledger.locks import SET_LOCK_TIMEOUT
from ledger.models import Balance, Entry, Transaction
from ledger.posting import engine
from ledger.queries.invariants import verify
from ledger.services.account_changes import freeze_account, unfreeze_account
from tests.ledger.audit import offences
from tests.ledger.hostile import connect
from tests.ledger.locks import in_thread, lock_modes, locked, waiting_for_locks
from tests.people import Tenant

STORM_S = float(os.environ.get("STORM_S", "10")) / 2  # in each of two isolations
EXPECTED = {"completed", "insufficient_funds", "ceiling_exceeded", "posting_contended"}


def storm(bank: Tenant, paths: list[str], seconds: float, seed: int) -> tuple[Counter[str], int]:
    """Submit random rounds until the time is over; return how often each outcome came, and what should be stored."""
    chance, outcomes, stored = random.Random(seed), Counter[str](), 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        submissions = [
            bank.submission(debit, credit, f"{chance.randint(0, 9)}.{chance.randint(1, 99):02}")
            for debit, credit in (chance.sample(paths, 2) for _ in range(chance.choice([1, 1, 2, 5, 20])))
        ]
        try:
            results = bank.submit(submissions)
        except PostingContended as contended:
            outcomes[contended.code] += 1
            keys = [one.idempotency_key for one in submissions]
            assert not Transaction.objects.filter(client=bank.client, idempotency_key__in=keys).exists()
            continue
        for result in results:
            assert not isinstance(result, DomainError), repr(result)
            outcomes[result.transaction.error.code if result.transaction.error else "completed"] += 1
        stored += len(results)
    return outcomes, stored


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_a_storm_leaves_every_invariant_intact(bank: Tenant, settings: Any, isolation: str) -> None:
    settings.LEDGER_ISOLATION = isolation
    people = [bank.person(f"user-{number}", holding="20.00") for number in range(10)]
    people.append(bank.open("users:full:USD", ceiling="3.00"))
    paths = ["cash:USD", *(person.path for person in people)]
    before = Transaction.objects.filter(client=bank.client).count()

    with ThreadPoolExecutor(4) as pool:
        ran = [pool.submit(in_thread, partial(storm, bank, paths, STORM_S, seed)) for seed in range(4)]
        finished = [one.result() for one in ran]

    outcomes = sum((counted for counted, _ in finished), Counter[str]())
    assert outcomes.keys() <= EXPECTED
    assert {"completed", "insufficient_funds", "ceiling_exceeded"} <= outcomes.keys()
    assert Transaction.objects.filter(client=bank.client).count() - before == sum(stored for _, stored in finished)
    assert verify(client_id=bank.client.pk).holds
    balances = Balance.objects.filter(account__client=bank.client)
    assert sum(balance.posted_debits - balance.posted_credits for balance in balances) == 0


def test_an_isolation_that_is_asked_for_is_what_the_engine_runs_in(bank: Tenant, settings: Any) -> None:
    settings.LEDGER_ISOLATION = "serializable"
    alice = bank.person("alice", holding="20.00")
    with locked(alice) as holder, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(in_thread, lambda: bank.move(alice.path, "cash:USD", "1.00"))
        assert wait_until(lambda: waiting_for_locks() == 1, timeout_s=4)
        modes = lock_modes()
        holder.execute("COMMIT")
        assert asked.result().transaction.status == "completed"
    assert "SIReadLock" in modes


def test_rounds_that_name_the_same_accounts_in_any_order_never_deadlock(bank: Tenant) -> None:
    alice, bob = bank.person("alice", holding="500.00"), bank.person("bob", holding="500.00")
    with connect("app") as app:
        before = app.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()

    def run(debit: str, credit: str) -> list[str]:
        return [bank.move(debit, credit, "0.01").transaction.status for _ in range(100)]

    with ThreadPoolExecutor(4) as pool:
        pairs = [(alice.path, bob.path), (bob.path, alice.path)] * 2
        asked = [pool.submit(in_thread, partial(run, *pair)) for pair in pairs]
        assert {status for one in asked for status in one.result()} == {"completed"}

    with connect("app") as app:
        after = app.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    assert after == before
    assert (bank.posted(alice), bank.posted(bob)) == (50000, 50000)


def test_of_two_requests_with_one_key_and_other_accounts_one_is_done_and_one_refused(bank: Tenant) -> None:
    """They lock different rows, so that only the key keeps them apart."""
    pairs = [(bank.person(f"{side}-payer", holding="90.00").path, bank.person(f"{side}-payee").path) for side in "ab"]

    def move(pair: tuple[str, str], round_number: int) -> str:
        begin.wait()
        hashed: dict[str, Any] = {"idempotency_key": f"key-{round_number}", "request_hash": pair[0].encode()}
        result = bank.submit([bank.submission(*pair, amount="1.00", **hashed)])[0]
        return result.code if isinstance(result, DomainError) else str(result.transaction.status)

    begin, outcomes = Barrier(2), []
    with ThreadPoolExecutor(2) as pool:
        for number in range(40):
            asked = [pool.submit(move, pair, number) for pair in pairs]
            outcomes.append(sorted(one.result() for one in asked))
        for one in [pool.submit(in_thread, begin.wait) for _ in range(2)]:
            one.result()

    assert outcomes == [["completed", "idempotency_key_reused"]] * 40
    assert offences(bank.client.pk) == []


def test_after_a_freeze_has_returned_nothing_is_booked_until_it_ends(bank: Tenant) -> None:
    alice, bob = bank.person("alice", holding="900.00"), bank.person("bob")
    outcomes: list[str] = []
    over = False

    def spend() -> None:
        while not over:
            failed = bank.move(alice.path, bob.path, "0.01").transaction.error
            outcomes.append(failed.code if failed else "completed")

    asked: Any = {"client_id": bank.client.pk, "account_id": alice.id, "actor": "staff:root", "reason": "race"}

    def told_of_more(code: str) -> bool:
        seen = outcomes.count(code)
        return wait_until(lambda: outcomes.count(code) >= seen + 8, timeout_s=5, every_s=0.001)

    with ThreadPoolExecutor(4) as pool:
        spending = [pool.submit(in_thread, spend) for _ in range(4)]
        try:
            for _ in range(5):
                assert told_of_more("completed")
                freeze_account(sides=Frozen.DEBITS, **asked)
                booked = Entry.objects.filter(account__public_id=alice.id).count()
                assert told_of_more("account_frozen")
                assert Entry.objects.filter(account__public_id=alice.id).count() == booked
                unfreeze_account(**asked)
        finally:
            over = True
        for one in spending:
            one.result()

    assert set(outcomes) == {"completed", "account_frozen"}
    assert offences(bank.client.pk) == []


def test_the_event_of_a_freeze_shows_the_balance_of_its_commit(bank: Tenant) -> None:
    """A posting that was first in the queue for the lock is part of what the freeze tells."""
    alice, bob = bank.person("alice", holding="20.00"), bank.person("bob")

    def freeze() -> None:
        freeze_account(
            client_id=bank.client.pk, account_id=alice.id, sides=Frozen.BOTH, actor="staff:root", reason="race"
        )

    with locked(alice) as holder, ThreadPoolExecutor(2) as pool:
        queued: list[Future[Any]] = []
        for number, work in enumerate((lambda: bank.move(alice.path, bob.path, "5.00"), freeze), 1):
            queued.append(pool.submit(in_thread, work))
            assert wait_until(lambda: waiting_for_locks() == number, timeout_s=4)  # noqa: B023  (waited for at once)
        holder.execute("COMMIT")
        for one in queued:
            one.result()

    data = OutboxEvent.objects.get(client_id=bank.client.pk, type="account.frozen").data
    assert bank.posted(alice) == 1500
    assert '"posted":"15.00"' in str(data).replace(": ", ":").replace("'", '"')


def test_an_account_that_stays_locked_gives_up_by_name_and_writes_nothing(
    bank: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SET_LOCK_TIMEOUT", "SET LOCAL lock_timeout = 100")
    alice = bank.person("alice", holding="20.00")
    with locked(alice), pytest.raises(PostingContended):
        bank.submit([bank.submission(alice.path, "cash:USD", "1.00", idempotency_key="once")])
    assert not Transaction.objects.filter(client=bank.client, idempotency_key="once").exists()
    assert bank.move(alice.path, "cash:USD", "1.00", idempotency_key="once").replayed is False


def test_who_dies_while_he_waits_for_an_account_keeps_nobody_from_what_he_has_locked(bank: Tenant) -> None:
    """Else the server would find out when the wait is over, after five seconds."""
    alice, bob = bank.person("alice", holding="20.00"), bank.person("bob", holding="20.00")
    with locked(alice):
        dying = locked(bob)
        dying.execute(SET_LOCK_TIMEOUT)
        dying.pgconn.send_query(b"SELECT 1 FROM ledger_balance FOR NO KEY UPDATE")
        assert wait_until(lambda: waiting_for_locks() == 1, timeout_s=4)
        dying.close()
        begun = time.monotonic()
        bank.move(bob.path, "cash:USD", "1.00")
        assert time.monotonic() - begun < 2.5
    assert bank.posted(bob) == 1900


def test_one_that_is_contended_does_not_speak_for_those_that_were_posted(
    bank: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round whose second key is taken meanwhile is repeated one by one; then carol's account is locked."""
    monkeypatch.setattr(engine, "SET_LOCK_TIMEOUT", "SET LOCAL lock_timeout = 500")
    alice, bob, carol = (bank.person(name, holding="20.00") for name in ("alice", "bob", "carol"))
    submissions = [
        bank.submission(person.path, "cash:USD", "1.00", idempotency_key=person.path) for person in (alice, bob, carol)
    ]
    taken = Transaction.objects.filter(client=bank.client).earliest("id")
    with connect("app") as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN")
        other.execute(
            "INSERT INTO ledger_transaction SELECT (jsonb_populate_record(t, jsonb_build_object("
            "'id', gen_random_uuid(), 'idempotency_key', %s::text, 'request_hash', '\\x00'))).* "
            "FROM ledger_transaction t WHERE id = %s",
            [bob.path, taken.pk],
        )
        asked = pool.submit(in_thread, lambda: bank.submit(submissions))
        stored = Transaction.objects.filter(client=bank.client, idempotency_key=alice.path)
        assert wait_until(stored.exists, timeout_s=5, every_s=0.005)
        with locked(carol):
            results = asked.result()
        other.execute("ROLLBACK")
    assert results[0].transaction.status == "completed"
    assert [result.code for result in results[1:]] == ["idempotency_key_in_use", "posting_contended"]
    assert [bank.posted(person) for person in (alice, bob, carol)] == [1900, 2000, 2000]
