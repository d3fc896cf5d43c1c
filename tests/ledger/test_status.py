"""Where a transaction stands, told fast: by memory, by Redis, by the database; true a second ago, and of its client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from prometheus_client import REGISTRY

from config.env import read_environment
from config.localstack.processes import wait_until
from config.runtime.errors import NotFound
from config.runtime.ids import uuid7
from config.runtime.redis import redis_client
from ledger.clients import authentication
from ledger.domain.receipts import receipt_code
from ledger.queries.transactions import get_transaction, transaction_shape
from ledger.status import status_of
from ledger.status import tracker as tracker_module
from ledger.status.shape import Seen, StatusShape
from ledger.status.tracker import SIZE_MAX, StatusTracker
from ledger.status.writer import Writer
from tests.ledger.statuses import TRANSFER, accept, answered_by, copied_books, made_up, move, name, stored, version_in
from tests.people import URL, Tenant
from tests.scratch import manage

FINAL = [("pending", "voided"), ("pending", "expired"), ("completed", "reversed")]
MOVING: list[tuple[tuple[str, ...], str]] = [
    ((), "completed"),
    (("pending",), "voided"),
    (("completed",), "reversed"),
    (("failed",), "processing"),
]


@pytest.fixture(scope="module")
def books(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A copy of the books, for all tests here."""
    with django_db_blocker.unblock(), copied_books():
        yield


@pytest.fixture
def db(books: None) -> Iterator[None]:
    """Let a test use the copy."""
    yield
    connections.close_all()


@pytest.fixture
def redis() -> Any:
    return redis_client(settings.REDIS_URL)


@pytest.fixture
def process(redis: Any) -> Callable[..., StatusTracker]:
    """Make what one process knows; two of them are two processes on one Redis."""

    def make(*, interval_s: float = 1.0, ttl_s: float = 300.0, size_max: int = SIZE_MAX) -> StatusTracker:
        return StatusTracker(redis, interval_s=interval_s, ttl_s=ttl_s, size_max=size_max)

    return make


@pytest.fixture
def accepted(bank: Tenant) -> UUID:
    """The id of a transaction that waits to be posted: version 1."""
    bank.person("alice", holding="5.00")
    return accept(bank)


def selects() -> float:
    return REGISTRY.get_sample_value("db_query_seconds_count", {"op": "select"}) or 0.0


@contextmanager
def selecting(count: int) -> Iterator[None]:
    """Assert that the block reads the database so often, whatever time has passed since its keys were looked up."""
    for remembered in authentication._remembered.values():
        remembered.renewed_at = remembered.until = time.monotonic() + 60
    before = selects()
    yield
    assert selects() - before == count


def test_a_receipt_tells_where_its_transaction_stands(bank: Tenant, accepted: UUID) -> None:
    code = receipt_code(accepted)
    whole = bank.get(f"/v2/transactions/{accepted}").json()
    answers = [
        bank.get(url)
        for url in (f"/v2/receipts/{code}", f"/v2/receipts/{code.lower()}", f"/v2/transactions/{accepted}/status")
    ]

    for answer in answers:
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
        assert answer.json() == {
            "id": str(accepted),
            "receipt_code": code,
            "status": "processing",
            "version": 1,
            "error": None,
            "created_at": whole["created_at"],
            "completed_at": None,
        }


def test_a_receipt_leads_to_the_whole_transaction(bank: Tenant, accepted: UUID) -> None:
    whole = bank.get(f"/v2/transactions/{accepted}")
    assert whole.json()["amount"] == "1.00"
    assert bank.get(f"/v2/receipts/{receipt_code(accepted)}/transaction").json() == whole.json()


def test_a_failure_is_told_with_its_reason(bank: Tenant) -> None:
    bank.person("alice")
    failed = bank.post(URL, TRANSFER).json()

    told = bank.get(f"/v2/transactions/{failed['transaction_id']}/status").json()

    assert (told["status"], told["version"]) == ("failed", 1)
    assert (told["error"]["code"], told["error"]["retryable"]) == ("insufficient_funds", False)


def test_what_was_completed_says_when(bank: Tenant) -> None:
    bank.person("alice", holding="5.00")
    whole = bank.post(URL, TRANSFER).json()
    told = bank.get(f"/v2/receipts/{whole['receipt_code']}").json()
    assert told["completed_at"] == whole["completed_at"] is not None
    assert told == {field: whole[field] for field in told}


@pytest.mark.parametrize("more", ["", "/transaction"])
def test_a_wrong_check_character_is_refused_without_a_query(bank: Tenant, accepted: UUID, more: str) -> None:
    code = receipt_code(accepted)
    wrong = code[:-1] + ("0" if code[-1] != "0" else "1")
    assert bank.get(f"/v2/receipts/{code}{more}").status_code == 200  # the key is remembered now

    with selecting(0), answered_by():
        answer = bank.get(f"/v2/receipts/{wrong}{more}")

    assert (answer.status_code, answer.json()["code"]) == (422, "receipt_malformed")


def test_a_parameter_is_refused(bank: Tenant, accepted: UUID) -> None:
    code = receipt_code(accepted)
    for url in (f"/v2/transactions/{accepted}/status", f"/v2/receipts/{code}", f"/v2/receipts/{code}/transaction"):
        assert (bank.get(url).status_code, bank.get(f"{url}?fresh=1").status_code) == (200, 400)


def test_what_memory_knows_costs_no_query(bank: Tenant, accepted: UUID) -> None:
    url = f"/v2/transactions/{accepted}/status"
    bank.get("/v2/accounts")  # the key is remembered now
    with selecting(1), answered_by(database=1):
        first = bank.get(url).json()
    with selecting(0), answered_by(memory=2):
        assert bank.get(url).json() == first
        assert bank.get(f"/v2/receipts/{receipt_code(accepted)}").json() == first


def test_what_one_client_was_told_does_not_exist_for_another(
    bank: Tenant, other_bank: Tenant, accepted: UUID, process: Callable[..., StatusTracker], redis: Any
) -> None:
    move(accepted, "pending", "voided")
    url = f"/v2/receipts/{receipt_code(accepted)}"
    assert bank.get(url).status_code == 200
    assert wait_until(lambda: redis.exists(name(bank, accepted)) == 1, 5)

    assert other_bank.get(url).status_code == 404
    with pytest.raises(NotFound):
        process().look_up(other_bank.client.pk, accepted)
    with answered_by(redis=1):
        assert process().look_up(bank.client.pk, accepted).status == "voided"


def test_that_there_is_no_such_transaction_is_not_remembered(
    bank: Tenant, accepted: UUID, process: Callable[..., StatusTracker]
) -> None:
    here, missing = process(), uuid7()
    for _ in range(2):
        with selecting(1), pytest.raises(NotFound):
            here.look_up(bank.client.pk, missing)
    assert len(here._memory) == 0


def test_what_nothing_moves_is_shown_from_memory_for_as_long_as_it_says(
    bank: Tenant, process: Callable[..., StatusTracker], redis: Any
) -> None:
    bank.person("alice", holding="5.00")
    here = process(interval_s=0.0, ttl_s=2.0)
    shapes = [move(accept(bank), *statuses) for statuses in FINAL]
    keys = [(bank.client.pk, shape.id) for shape in shapes]
    with answered_by(database=3):
        assert [here.look_up(*key) for key in keys] == shapes
    time.sleep(1.1)
    with answered_by(memory=3), selecting(0):
        assert [here.look_up(*key) for key in keys] == shapes
    time.sleep(1.0)
    with answered_by(redis=3), selecting(0):
        assert [here.look_up(*key) for key in keys] == shapes
    redis.delete(*[name(bank, shape.id) for shape in shapes])
    with answered_by(memory=3):
        assert [here.look_up(*key) for key in keys] == shapes


def test_what_may_move_is_shown_again_for_the_interval_and_no_longer(
    bank: Tenant, process: Callable[..., StatusTracker]
) -> None:
    bank.person("alice", holding="5.00")
    ids = [accept(bank) for _ in MOVING]
    before = [move(one, *statuses) for one, (statuses, _) in zip(ids, MOVING, strict=True)]
    here, there, keys = process(), process(), [(bank.client.pk, one) for one in ids]
    with answered_by(database=4):
        assert [here.look_up(*key) for key in keys] == before
    here._writer.flush()
    after = [move(one, following) for one, (_, following) in zip(ids, MOVING, strict=True)]
    with answered_by(memory=4, redis=4), selecting(0):
        assert [here.look_up(*key) for key in keys] == before
        assert [there.look_up(*key) for key in keys] == before
    time.sleep(1.0)
    with answered_by(database=4):
        assert [here.look_up(*key) for key in keys] == after


def test_what_becomes_final_is_kept_once(bank: Tenant, accepted: UUID, process: Callable[..., StatusTracker]) -> None:
    here, begun_at = process(), time.monotonic()
    for statuses in ([], ["pending"], ["voided"]):
        here.announce([(bank.client.pk, move(accepted, *statuses))], begun_at=begun_at)
        assert len(here._memory) == 1
    assert here.look_up(bank.client.pk, accepted).status == "voided"


def test_an_interval_of_nothing_asks_the_database_each_time(
    bank: Tenant, accepted: UUID, process: Callable[..., StatusTracker]
) -> None:
    here = process(interval_s=0.0)
    with answered_by(database=3):
        for _ in range(3):
            here.look_up(bank.client.pk, accepted)


def test_redis_does_not_make_an_answer_younger(
    bank: Tenant, accepted: UUID, process: Callable[..., StatusTracker]
) -> None:
    """Each process that took it from Redis as new would hand it on for another second."""
    first, second = process(), process()
    before = first.look_up(bank.client.pk, accepted)
    first._writer.flush()
    after = move(accepted, "completed")
    time.sleep(0.5)
    assert second.look_up(bank.client.pk, accepted) == before
    time.sleep(0.55)
    assert second.look_up(bank.client.pk, accepted) == after


def test_what_is_announced_is_known_here_at_once_and_elsewhere_soon(
    bank: Tenant, accepted: UUID, process: Callable[..., StatusTracker], redis: Any
) -> None:
    here, there = process(), process()
    now = time.monotonic()
    shape = move(accepted, "completed")
    here.announce([(bank.client.pk, shape)], begun_at=now)
    with selecting(0), answered_by(memory=1, redis=1):
        assert here.look_up(bank.client.pk, accepted) is shape
        assert wait_until(lambda: redis.exists(name(bank, accepted)) == 1, 5)
        assert there.look_up(bank.client.pk, accepted) == shape


def test_what_is_announced_too_late_is_not_believed(
    bank: Tenant, accepted: UUID, process: Callable[..., StatusTracker]
) -> None:
    """Between its commit and its announcement it may have moved on."""
    here, there = process(), process()
    begun_at, before = time.monotonic() - 1.1, stored(accepted)
    after = move(accepted, "completed")
    here.announce([(bank.client.pk, before)], begun_at=begun_at)
    assert wait_until(lambda: version_in(there, bank, accepted) == 1, 5)
    with answered_by(database=2):
        assert here.look_up(bank.client.pk, accepted) == after
        assert process(interval_s=0.0).look_up(bank.client.pk, accepted) == after
    assert wait_until(lambda: version_in(there, bank, accepted) == 2, 5)
    with answered_by(redis=1):
        assert there.look_up(bank.client.pk, accepted) == after


def test_versions_in_redis_only_go_up_and_last_a_day(
    bank: Tenant, accepted: UUID, process: Callable[..., StatusTracker], redis: Any
) -> None:
    here, client_id, begun_at = process(), bank.client.pk, time.monotonic() - 20
    first = stored(accepted)
    second = move(accepted, "failed")
    for shape, since, told in (
        (second, begun_at, (2, begun_at)),
        (first, begun_at + 5, (2, begun_at)),  # a lower version, however recent
        (second, begun_at - 5, (2, begun_at)),  # the same, but older
        (second, begun_at + 1, (2, begun_at + 1)),  # the same, more recent
        (move(accepted, "processing"), begun_at - 9, (3, begun_at - 9)),  # a higher version, however old
    ):
        redis.persist(name(bank, accepted))
        here._store.write([((client_id, accepted), Seen(shape, since))])
        kept = here._store.read((client_id, accepted))
        assert kept is not None
        assert kept.shape.version == told[0]
        assert told[1] - 0.1 < kept.since <= told[1]
    assert 24 * 3600 - 10 < redis.ttl(name(bank, accepted)) <= 24 * 3600


def test_a_clock_of_redis_that_was_set_back_makes_nothing_young(
    bank: Tenant, accepted: UUID, process: Callable[..., StatusTracker]
) -> None:
    begun_at, before = time.monotonic(), stored(accepted)
    after = move(accepted, "completed")
    process()._store.write([((bank.client.pk, accepted), Seen(before, begun_at + 60))])
    assert process().look_up(bank.client.pk, accepted) == after


@pytest.mark.parametrize("junk", [b"", b"junk", b"[9", b'[9,9,"voided"]', b'{"version": 9}', b"[1,2,3,4,5,6]", None])
def test_what_is_no_status_of_ours_in_redis_is_not_shown_and_gives_way(
    bank: Tenant, accepted: UUID, process: Callable[..., StatusTracker], redis: Any, junk: bytes | None
) -> None:
    key = name(bank, accepted)
    redis.delete(key)
    if junk is None:
        redis.rpush(key, "a list")
    else:
        redis.set(key, junk)
    here = process()
    with answered_by(database=1):
        shape = here.look_up(bank.client.pk, accepted)
    assert shape == stored(accepted)
    if junk is None or not junk.startswith((b"[9,", b"[1,2")):
        here._writer.flush()
        assert version_in(process(), bank, accepted) == 1


def test_announcements_are_written_in_batches(
    bank: Tenant, process: Callable[..., StatusTracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, sizes = process(), list[int]()
    shapes = [made_up() for _ in range(250)]
    monkeypatch.setattr(here._writer, "_write", lambda batch: sizes.append(len(batch)))
    monkeypatch.setattr(here._writer, "_wake", lambda: None)
    for shape in shapes:
        here.announce([(bank.client.pk, shape)], begun_at=time.monotonic())
    here._writer.flush()
    assert sizes == [100, 100, 50]


def test_what_waits_for_redis_is_bounded_and_each_waits_once(
    bank: Tenant, process: Callable[..., StatusTracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, begun_at = process(), time.monotonic()
    monkeypatch.setattr(here._writer, "_wake", lambda: None)
    first, second = made_up(version=1), made_up(version=2)
    second = StatusShape(**{field: getattr(second, field) for field in second.__struct_fields__} | {"id": first.id})
    here.announce([(bank.client.pk, second), (bank.client.pk, first)], begun_at=begun_at)
    assert [seen.shape.version for seen in here._writer._pending.values()] == [2]

    here.announce([(bank.client.pk, made_up()) for _ in range(10_000)], begun_at=begun_at)
    assert len(here._writer._pending) == 10_000
    assert (bank.client.pk, first.id) not in here._writer._pending


def test_what_a_process_was_told_reaches_redis_before_it_ends(bank: Tenant, redis: Any) -> None:
    shapes = [made_up() for _ in range(1500)]
    ids = [shape.id.hex for shape in shapes]
    script = (
        "import time; from uuid import UUID; from tests.ledger.statuses import made_up; "
        "from ledger.status import StatusShape, announce; one = made_up(); "
        "fields = {f: getattr(one, f) for f in one.__struct_fields__}; "
        f"announce([({bank.client.pk}, StatusShape(**fields | dict(id=UUID(i)))) for i in {ids}], "
        "begun_at=time.monotonic())"
    )
    ended = manage("shell", "--no-imports", "-c", script)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert redis.exists(*[f"status:{bank.client.pk}:{one}" for one in ids]) == 1500


def test_who_waits_for_the_writing_waits_for_what_another_thread_is_at() -> None:
    begun, may_end, written = threading.Event(), threading.Event(), list[int]()

    def write(batch: Sequence[Any]) -> None:
        begun.set()
        assert may_end.wait(10)
        written.append(len(batch))

    writer = Writer(write)
    shape = made_up()
    writer.put([((1, shape.id), Seen(shape, 0.0))])
    assert begun.wait(10)
    threading.Timer(0.2, may_end.set).start()
    writer.flush()
    assert written == [1]


def test_memory_is_bounded_and_entries_leave(bank: Tenant, process: Callable[..., StatusTracker]) -> None:
    here = process(size_max=100, ttl_s=1.5)
    last = [made_up() for _ in range(50)] + [made_up("voided") for _ in range(50)]
    for shape in [made_up() for _ in range(300)] + [made_up("voided") for _ in range(300)] + last:
        here.announce([(bank.client.pk, shape)], begun_at=time.monotonic())
    assert len(here._memory) == REGISTRY.get_sample_value("status_tracker_cache_size") == 100
    with answered_by(memory=100):
        assert [here.look_up(bank.client.pk, shape.id) for shape in last] == last

    time.sleep(1.05)
    here.announce([(bank.client.pk, made_up())], begun_at=time.monotonic())
    assert len(here._memory) == 51  # what might have moved has left
    time.sleep(1.05)
    here.announce([(bank.client.pk, made_up())], begun_at=time.monotonic())
    assert len(here._memory) == REGISTRY.get_sample_value("status_tracker_cache_size") == 1


def test_the_hit_rate_is_that_of_the_last_thousand(
    bank: Tenant, accepted: UUID, process: Callable[..., StatusTracker]
) -> None:
    here = process()

    def rate() -> float | None:
        return REGISTRY.get_sample_value("status_tracker_cache_hit_rate")

    here.look_up(bank.client.pk, accepted)
    assert rate() == 0.0
    here.look_up(bank.client.pk, accepted)
    assert rate() == 0.5
    move(accepted, "pending", "voided")
    time.sleep(1.0)
    here.look_up(bank.client.pk, accepted)
    for _ in range(1000):
        here.look_up(bank.client.pk, accepted)
    assert rate() == 1.0


def test_the_settings_are_five_minutes_and_at_most_a_second() -> None:
    enough = {"SECRET_KEY": "s" * 50, "DATABASE_URL": "postgresql://app:pw@db/books", "REDIS_URL": "redis://r/0"}
    env = read_environment(enough)
    assert (env.status_cache_ttl, env.status_update_interval) == (300, 1)
    assert read_environment(enough | {"STATUS_UPDATE_INTERVAL": "0"}).status_update_interval == 0
    for wrong in ({"STATUS_UPDATE_INTERVAL": "2"}, {"STATUS_CACHE_TTL": "0"}):
        with pytest.raises(ImproperlyConfigured):
            read_environment(enough | wrong)


def test_a_status_is_the_same_from_a_shape_and_from_its_row(bank: Tenant) -> None:
    bank.person("alice", holding="5.00")
    moved = [bank.move("users:alice:USD", "cash:USD", amount).transaction for amount in ("1.00", "90.00")]
    for shape in moved:
        assert tracker_module._read((bank.client.pk, shape.id)).shape == status_of(shape)  # type: ignore[union-attr]
        assert status_of(transaction_shape(get_transaction(bank.client.pk, shape.id))) == status_of(shape)
