"""Batches that are posted in turns: nothing half done, nobody kept waiting, the culprit alone refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from config.localstack.processes import wait_until
from config.localstack.stack import ROOT
from config.runtime.clock import now, rfc3339
from config.runtime.database import raw_cursor
from ledger import actors
from ledger.models import Batch, BatchItem, Transaction
from ledger.posting import queue
from ledger.posting.queue import Drain
from ledger.queries.batches import waiting_items
from ledger.queries.invariants import verify
from ledger.services.batches import room, turns
from ledger.services.batches.items import drafted
from ledger.services.batches.rows import finish_items
from ledger.services.batches.turns import is_batch_due, post_due_batch
from tests.counted import statements
from tests.ledger.audit import offences
from tests.ledger.locks import in_thread, locked
from tests.ledger.queueing import messages_of
from tests.ledger.test_batches import URL, codes, has
from tests.ledger.test_refused_rounds import database_refuses
from tests.people import URL as SINGLE
from tests.people import Tenant
from tests.people import body as item

AT_ONCE = "SELECT set_config('lock_timeout', '30ms', true)"


@pytest.fixture
def people(bank: Tenant, monkeypatch: pytest.MonkeyPatch) -> Tenant:
    """A bank where alice holds 10.00, and bob and carol nothing; no other batch is due, and no poster is woken."""
    monkeypatch.setattr(actors, "_wake_batches", lambda: None)
    Batch.objects.filter(status="processing").update(next_attempt_at=now() + timedelta(days=365))
    bank.person("alice", holding="10.00")
    bank.person("bob")
    bank.person("carol")
    return bank


def send(bank: Tenant, *items: Any, key: str | None = None, prefer: str = "respond-async") -> Any:
    return bank.post(URL, {"mode": "partial", "items": list(items)}, key=key, Prefer=prefer)


def batch(bank: Tenant, answer: Any) -> Any:
    return bank.get(f"/v2/batches/{answer.json()['id']}").json()


def items(bank: Tenant, answer: Any) -> list[Any]:
    """All items of a batch, page by page."""
    found, cursor = [], ""
    while True:
        page = bank.get(f"/v2/batches/{answer.json()['id']}/items?limit=200{cursor}").json()
        found += page["data"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def shown(bank: Tenant, answer: Any) -> list[str | None]:
    return [one["error"]["code"] if one["error"] else None for one in items(bank, answer)]


def tries(answer: Any) -> list[int]:
    found = BatchItem.objects.filter(batch=answer.json()["id"]).order_by("index")
    return list(found.values_list("attempts", flat=True))


def drain() -> None:
    while post_due_batch():
        pass


def test_a_batch_is_stored_at_once_and_posted_later(people: Tenant) -> None:
    answer = send(people, item("1.00"), item("1.00", credit="nobody"), 7, item("50.00"))

    assert (answer.status_code, answer["Preference-Applied"], answer["Retry-After"]) == (202, "respond-async", "1")
    assert answer["Location"] == f"/v2/batches/{answer.json()['id']}"
    assert (answer.json()["status"], answer.json()["counts"]["waiting"]) == ("processing", 2)
    assert [(one["status"], one["transaction"]) for one in items(people, answer)] == [
        (202, None),
        (422, None),
        (422, None),
        (202, None),
    ]
    assert has(people, "bob") == [0]

    assert post_due_batch() == 2

    after = batch(people, answer)
    assert (after["status"], after["completed_at"] is None) == ("completed", False)
    assert after["counts"] == {"total": 4, "waiting": 0, "processing": 0, "completed": 1, "failed": 3}
    assert shown(people, answer) == [None, "account_unknown", "field_type", "insufficient_funds"]
    assert items(people, answer)[3]["transaction"]["status"] == "failed"
    assert has(people, "bob") == [100]
    assert (post_due_batch(), is_batch_due()) == (0, False)
    assert offences(people.client.pk) == []


def test_an_item_that_waited_is_judged_as_if_it_had_been_sent_alone(people: Tenant, settings: Any) -> None:
    """What was right when the batch came is not refused for the time that it had to wait."""
    soon = timedelta(seconds=0.5)
    hold = item("1.00", capture="manual", expires_at=rfc3339(now() + soon))
    dated = item("1.00", effective_at=rfc3339(now() + soon - timedelta(days=settings.BACKDATE_MAX_DAYS)))
    answer = send(people, hold, dated)
    time.sleep(0.6)
    drain()
    shapes = [one["transaction"] for one in items(people, answer)]
    assert [(shape["status"], shape["error"] and shape["error"]["code"]) for shape in shapes] == [
        ("failed", "hold_expired"),
        ("completed", None),
    ]


def test_a_preference_that_nothing_comes_of_is_not_called_applied(people: Tenant) -> None:
    assert "Preference-Applied" not in send(people, item(), prefer="wait=5")
    body = {"mode": "atomic", "items": [item()]}
    answer = people.post(URL, body, Prefer="respond-async")
    assert (answer.status_code, "Preference-Applied" in answer) == (207, False)
    nothing = send(people, 7)
    assert (nothing.status_code, "Preference-Applied" in nothing) == (207, False)


def test_more_than_a_thousand_items_are_posted_in_turns(people: Tenant) -> None:
    answer = send(people, *[item("0.01", reference=str(number)) for number in range(1_001)], prefer="")
    assert answer.status_code == 202
    assert [post_due_batch() for _ in range(4)] == [500, 500, 1, 0]
    found = items(people, answer)
    assert [one["index"] for one in found] == list(range(1_001))
    assert [one["transaction"]["reference"] for one in found] == [str(number) for number in range(1_001)]
    assert [one["status"] for one in found] == [201] * 1_000 + [409]
    assert has(people, "alice", "bob") == [0, 1000]


def test_a_repeated_request_is_answered_as_the_batch_is_now(people: Tenant) -> None:
    first, second = (send(people, item("1.00"), 7, key="once") for _ in range(2))
    assert (second.status_code, second["Idempotent-Replayed"], second.json()) == (202, "true", first.json())
    drain()
    third = send(people, item("1.00"), 7, key="once")
    assert (third.status_code, third["Idempotent-Replayed"]) == (207, "true")
    assert codes(third) == [None, "field_type"]
    assert has(people, "bob") == [100]


def test_ten_equal_requests_at_once_store_one_batch(people: Tenant) -> None:
    with ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(in_thread, lambda: send(people, item(), key="once")) for _ in range(10)]
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    drain()
    assert has(people, "bob") == [100]


def test_batches_take_turns(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SIZE", 2)
    large, small = send(people, *[item("0.01")] * 6), send(people, *[item("0.01")] * 3)
    left = []
    for _ in range(5):
        post_due_batch()
        left.append((batch(people, large)["counts"]["waiting"], batch(people, small)["counts"]["waiting"]))
    assert left == [(4, 3), (4, 1), (2, 1), (2, 0), (0, 0)]


def test_a_turn_never_cuts_a_group(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SIZE", 3)
    answer = send(
        people,
        item("1.00", group="a"),
        item("1.00", group="b"),
        item("1.00"),
        item("99.00", group="b"),
        item("1.00", group="a", credit="carol"),
        item("1.00", "carol", "bob"),
    )
    assert post_due_batch() == 4
    assert has(people, "bob", "carol") == [100, 100]
    assert post_due_batch() == 2
    assert shown(people, answer) == [None, "group_refused", None, "insufficient_funds", None, None]
    assert has(people, "alice", "bob", "carol") == [700, 300, 0]


def test_a_turn_is_never_larger_than_a_round(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SIZE", 3)
    monkeypatch.setattr(turns, "ROUND_SIZE_MAX", 4)
    send(people, item("0.01"), item("0.01"), *[item("0.01", group="a")] * 4)
    assert [post_due_batch() for _ in range(3)] == [2, 4, 0]


def test_items_replay_by_their_keys_and_a_group_is_not_booked_beside_a_failure(people: Tenant) -> None:
    accepted = send(
        people,
        item("1.00", idempotency_key="booked"),
        item("2.00", group="a"),
        item("50.00", group="a", idempotency_key="failed"),
        item("3.00", group="b"),
    )
    people.post(SINGLE, item("1.00"), key="booked")
    people.post(SINGLE, item("50.00"), key="failed")
    drain()
    found = items(people, accepted)
    assert shown(people, accepted) == [None, "group_refused", "insufficient_funds", None]
    assert [one["replayed"] for one in found] == [True, False, False, False]
    assert has(people, "bob") == [400]


def test_the_queue_of_batches_is_bounded(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "QUEUE_SIZE", waiting_items() + 3)
    send(people, item("0.01"), item("0.01"), 7)
    before = Batch.objects.count()
    monkeypatch.setattr(room, "_drain", Drain())
    full = send(people, item("0.01"), item("0.01"), key="full")
    assert (full.status_code, full.json()["code"], full["Retry-After"]) == (503, "queue_full", "1")
    monkeypatch.setattr(queue, "MEASURED_OVER_S", 0)
    assert send(people, item("0.01"), item("0.01"), key="full")["Retry-After"] == "60"
    assert Batch.objects.count() == before
    assert send(people, item("0.01"), item("0.01"), key="full", prefer="").status_code == 207
    assert send(people, item("0.01")).status_code == 202
    drain()
    assert send(people, item("0.01"), item("0.01")).status_code == 202


def test_what_leaves_the_queue_of_batches_is_seen_a_second_later(people: Tenant) -> None:
    def done() -> int:
        with raw_cursor() as cursor:
            return int(cursor.execute(room.ITEMS_DONE).fetchall()[0][0])

    def is_seen() -> bool:
        send(people, item("0.01"))
        drain()
        return done() > before

    before = done()
    assert wait_until(is_seen, timeout_s=10, every_s=0.1)


def test_of_a_turn_that_the_database_refuses_the_culprit_alone_is_refused(people: Tenant) -> None:
    answer = send(people, item("1.00"), item("3.13"), item("2.00"), item("1.00", group="a"), item("3.13", group="a"))
    with database_refuses(people.account("users:bob:USD"), 313):
        assert post_due_batch() == 5
    assert shown(people, answer) == [None, "posting_refused", None, "posting_refused", "posting_refused"]
    assert [one["error"]["retryable"] for one in items(people, answer) if one["error"]] == [False] * 3
    assert batch(people, answer)["status"] == "completed"
    assert has(people, "bob") == [300]
    assert offences(people.client.pk) == []


def test_a_batch_whose_round_the_database_refuses_is_posted_in_turns(people: Tenant) -> None:
    with database_refuses(people.account("users:bob:USD"), 313):
        answer = send(people, item("1.00"), item("3.13"), item("2.00"), prefer="", key="once")
        assert (answer.status_code, "Preference-Applied" in answer) == (202, False)
        drain()
    again = send(people, item("1.00"), item("3.13"), item("2.00"), prefer="", key="once")
    assert (again.status_code, codes(again)) == (207, [None, "posting_refused", None])
    assert has(people, "bob") == [300]


def test_what_stays_locked_waits_and_is_given_up_after_three_tries(
    people: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "ROUND_PATIENCE", AT_ONCE)
    answer = send(people, item("1.00"), item("1.00", credit="carol"), item("2.00"))
    with locked(people.account("users:carol:USD")):
        assert post_due_batch() == 2
        assert batch(people, answer)["counts"]["waiting"] == 1
        row = Batch.objects.get(pk=answer.json()["id"])
        assert row.next_attempt_at is not None
        assert row.next_attempt_at > now()
        assert tries(answer) == [0, 1, 0]
        assert post_due_batch() == 0
        for _ in range(2):
            Batch.objects.filter(pk=row.pk).update(next_attempt_at=now())
            post_due_batch()
    assert shown(people, answer) == [None, "contention", None]
    assert items(people, answer)[1]["error"]["retryable"] is True
    assert tries(answer) == [0, 3, 0]
    assert batch(people, answer)["status"] == "completed"
    assert BatchItem.objects.get(batch_id=row.pk, index=1).body is not None
    assert BatchItem.objects.filter(batch_id=row.pk, body__isnull=False).count() == 1
    assert has(people, "bob", "carol") == [300, 0]


def test_what_was_locked_for_a_while_is_booked_afterwards(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = send(people, item("1.00"))
    with monkeypatch.context() as patch, locked(people.account("users:alice:USD")):
        patch.setattr(turns, "ROUND_PATIENCE", AT_ONCE)
        assert post_due_batch() == 0
    Batch.objects.filter(pk=answer.json()["id"]).update(next_attempt_at=now())
    assert post_due_batch() == 1
    assert shown(people, answer) == [None]
    assert tries(answer) == [1]


def test_a_turn_of_many_that_stay_locked_comes_to_an_end(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "ROUND_PATIENCE", AT_ONCE)
    monkeypatch.setattr(turns, "ONE_BY_ONE_S", 0.0)
    answer = send(people, *[item("1.00")] * 4)
    with locked(people.account("users:alice:USD")):
        for _ in range(3):
            Batch.objects.filter(pk=answer.json()["id"]).update(next_attempt_at=now())
            post_due_batch()
    assert shown(people, answer) == ["contention", None, None, None]
    assert batch(people, answer)["counts"]["waiting"] == 3
    drain()
    assert has(people, "bob") == [300]


def test_an_item_is_given_up_after_its_own_tries_and_not_after_anothers(
    people: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "ROUND_PATIENCE", AT_ONCE)
    answer = send(people, item("1.00"), item("2.00"))

    def turn() -> list[int]:
        Batch.objects.filter(pk=answer.json()["id"]).update(next_attempt_at=now())
        post_due_batch()
        return tries(answer)

    with locked(people.account("users:alice:USD")):
        with monkeypatch.context() as patch:
            patch.setattr(turns, "ONE_BY_ONE_S", 0.0)  # there is time for the first alone
            assert turn() == [1, 0]
        assert [turn(), turn()] == [[2, 1], [3, 2]]
        assert shown(people, answer) == ["contention", None]
        assert batch(people, answer)["counts"]["waiting"] == 1
        assert turn() == [3, 3]
    assert shown(people, answer) == ["contention", "contention"]
    assert offences(people.client.pk) == []


def test_a_turn_costs_as_many_statements_whatever_its_size(people: Tenant) -> None:
    send(people, *[item("0.01")] * 2)
    send(people, *[item("0.01")] * 200)
    assert statements(post_due_batch) == statements(post_due_batch) > 0
    assert has(people, "bob") == [202]


def test_tries_are_counted_in_as_many_statements_however_many_they_are(people: Tenant) -> None:
    few, many = (send(people, *[item("0.01")] * size) for size in (2, 200))

    def count(answer: Any, size: int) -> None:
        culprits = {index: "contention" if index % 2 else "posting_refused" for index in range(size)}
        assert turns._count_tries(UUID(answer.json()["id"]), culprits) == size // 2

    assert statements(lambda: count(few, 2)) == statements(lambda: count(many, 200)) > 0
    assert shown(people, many) == ["posting_refused", None] * 100
    assert tries(many) == [1] * 200


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_poster_that_dies_leaves_nothing_half_done(
    people: Tenant, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    answer = send(people, item("1.00"), item("2.00", idempotency_key="k"))

    def die(*arguments: Any, **more: Any) -> int:
        if moment == "after":
            finish_items(*arguments, **more)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(turns, "finish_items", die)
        with pytest.raises(Killed):
            post_due_batch()
    assert batch(people, answer)["counts"]["waiting"] == 2
    assert not Transaction.objects.filter(batch_id=answer.json()["id"]).exists()
    assert has(people, "bob") == [0]
    drain()
    assert has(people, "bob") == [300]
    assert Transaction.objects.filter(batch_id=answer.json()["id"]).count() == 2
    assert offences(people.client.pk) == []


def test_a_defect_in_one_batch_holds_up_no_other(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    odd, other = send(people, item("1.00", reference="odd"), item("2.00")), send(people, item("3.00"))

    def stumble(head: Any, found: Any, **more: Any) -> Any:
        if any(one.reference == "odd" for one in found.values()):
            raise ZeroDivisionError
        return drafted(head, found, **more)

    monkeypatch.setattr(turns, "drafted", stumble)
    drain()
    assert shown(people, odd) == ["posting_refused", None]
    assert shown(people, other) == [None]


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_many_posters_post_every_item_once(
    people: Tenant, monkeypatch: pytest.MonkeyPatch, settings: Any, isolation: str
) -> None:
    settings.LEDGER_ISOLATION = isolation
    monkeypatch.setattr(turns, "TURN_SIZE", 7)
    sent = [send(people, *[item("0.01", credit=name) for name in ("bob", "carol") * 20]) for _ in range(6)]

    def work() -> int:
        count, idle = 0, 0
        while idle < 5:
            posted = post_due_batch()
            count, idle = count + posted, 0 if posted else idle + 1
        return count

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(in_thread, work) for _ in range(4)]
        assert sum(one.result() for one in asked) == 240
    assert {batch(people, answer)["status"] for answer in sent} == {"completed"}
    assert has(people, "alice", "bob", "carol") == [760, 120, 120]
    assert offences(people.client.pk) == []


def test_the_actor_gives_turns_until_nothing_is_due(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SIZE", 2)
    sent = [send(people, *[item("0.01")] * 5) for _ in range(2)]
    actors.post_batches()
    assert [batch(people, answer)["status"] for answer in sent] == ["completed"] * 2


def test_an_actor_that_has_worked_long_hands_on(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    handed = messages_of(actors.post_batches, monkeypatch)
    monkeypatch.setattr(turns, "TURN_SIZE", 2)
    monkeypatch.setattr(actors, "SHIFT_S", 0.0)
    answer = send(people, *[item("0.01")] * 5)
    actors.post_batches()
    assert (len(handed), batch(people, answer)["counts"]["waiting"]) == (1, 3)


def test_the_schedule_pokes_where_a_message_was_lost(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    poked = messages_of(actors.post_batches, monkeypatch)
    actors.keep_posting()
    assert poked == []
    send(people, item())
    actors.keep_posting()
    assert len(poked) == 1


def test_while_the_broker_is_away_the_schedule_gives_batches_their_turns(people: Tenant, no_broker: None) -> None:
    answer = send(people, item("0.01"))
    actors.keep_posting()
    assert batch(people, answer)["status"] == "completed"


def test_batches_take_one_thread_of_a_worker(people: Tenant) -> None:
    answer = send(people, item("0.01"))
    with actors._alone("batches"):
        actors.post_batches.fn()
    assert batch(people, answer)["counts"]["waiting"] == 1


def worker() -> subprocess.Popen[bytes]:
    """Start a worker on the test database, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dramatiq", "config.broker", "--processes", "1", "--threads", "2"],
        cwd=ROOT,
        env=os.environ | {"LOG_LEVEL": "WARNING"},
        start_new_session=True,
    )


def test_workers_that_are_killed_leave_nothing_half_done_and_the_next_goes_on(people: Tenant) -> None:
    people.move("cash:USD", "users:alice:USD", "90.00", type="cash_in")
    sent = [send(people, *[item("0.01", group=f"pair-{n // 2}") for n in range(1_500)]) for _ in range(3)]

    def waiting() -> int:
        return sum(batch(people, answer)["counts"]["waiting"] for answer in sent)

    for left in (3_000, 1_500):
        process = worker()
        actors.post_batches.send()
        try:
            assert wait_until(lambda: waiting() <= left, timeout_s=40)  # noqa: B023  (waited for at once)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert offences(people.client.pk) == []
        assert has(people, "bob") == [4_500 - waiting()]
    drain()
    assert [batch(people, answer)["counts"]["completed"] for answer in sent] == [1_500] * 3
    assert has(people, "alice", "bob") == [5_500, 4_500]
    assert verify(client_id=people.client.pk).holds
