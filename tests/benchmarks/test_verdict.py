"""The verdict after a storm sees every kind of harm."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from benchmarks.storm import verdict
from benchmarks.storm.customers import Attempt, Sight, Told
from benchmarks.storm.faults import Interval
from benchmarks.storm.verdict import BATCHES, Verdict

PAID = ("1", "key", "RCP-1", "completed", 1, 2)
REFUSED_BY_THE_BOOKS = ("2", "key-2", "RCP-2", "failed", 0, 1)
BATCH = ("3", "batch", "completed", 0)


class World:
    """A storm after which all is well: it is ground, crowd and director at once."""

    def __init__(self) -> None:
        self.books, self.environment = self, dict[str, str]()
        self.client = "storm"
        self.rows: dict[str, list[tuple[Any, ...]]] = {
            "transactions": [PAID, REFUSED_BY_THE_BOOKS],
            "batches": [BATCH],
        }
        self.answers = {
            "key": Told("accepted", 202, "1", "RCP-1"),
            "key-2": Told("waited", 409, "2", "RCP-2"),
            "batch": Told("batch", 207, "3", None),
            "refused": Told("accepted", 409, None, None),
        }
        self.seen = [
            Sight("1", "a", 10.0, 10.1, "processing", 1),
            Sight("1", "b", 10.2, 10.3, "completed", 2),
            Sight("1", "a", 11.2, 11.3, "processing", 1),
            Sight("1", "a", 11.4, 11.5, "completed", 2),
            Sight("2", "a", 11.0, 11.1, "failed", 1),
        ]
        self.sent = [Attempt(begun=10.0, seconds=0.1, status=202), Attempt(begun=11.0, seconds=0.2, status=503)]
        self.odds: list[str] = []
        self.redis = [Interval("stopped", 9.0, 15.0)]
        self.done = Counter({"redis stopped": 1})

    def query(self, statement: str, *_: object) -> list[tuple[Any, ...]]:
        return self.rows["batches" if statement == BATCHES else "transactions"]

    def told(self) -> dict[str, Told]:
        return self.answers

    def attempts(self) -> list[Attempt]:
        return self.sent

    def sights(self) -> list[Sight]:
        return self.seen

    def statuses(self) -> Counter[int]:
        return Counter(one.status for one in self.sent)

    def odd(self) -> list[str]:
        return self.odds

    def unanswered(self) -> list[str]:
        return []

    def doubled(self) -> list[str]:
        return []


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(verdict, "finished", lambda *_, **__: "")
    return World()


def harm(world: Any) -> list[str]:
    return Verdict(world, world, world, 0.0).harm


def test_a_storm_without_harm_has_none(world: Any) -> None:
    found = Verdict(world, world, world, 0.0)

    assert found.harm == []
    asked = found.tables()[1]["rows"][0]
    assert (asked["accepted"], asked["waited"], asked["batch"], asked["refused"]) == (1, 1, 1, 1)
    assert found.tables()[2]["rows"][0]["max_ms"] == 200


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([REFUSED_BY_THE_BOOKS], "receipts without their transaction"),
        ([("9", *PAID[1:]), REFUSED_BY_THE_BOOKS], "receipts without their transaction"),
        ([(*PAID[:3], "processing", 0, 1), REFUSED_BY_THE_BOOKS], "transactions without an outcome"),
        ([(*PAID[:4], 2, 2), REFUSED_BY_THE_BOOKS], "outcomes without exactly their journal"),
        ([PAID, (*REFUSED_BY_THE_BOOKS[:4], 1, 1)], "outcomes without exactly their journal"),
        (
            [PAID, REFUSED_BY_THE_BOOKS, ("4", "refused", "RCP-4", "failed", 0, 1)],
            "transactions that nobody was told of",
        ),
        ([PAID, PAID, REFUSED_BY_THE_BOOKS], "keys of two transactions"),
    ],
)
def test_harm_to_a_transaction_is_seen(world: World, rows: list[tuple[Any, ...]], expected: str) -> None:
    world.rows["transactions"] = rows

    assert expected in harm(world)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "batches lost"),
        ([BATCH, ("5", None, "completed", 0)], "batches that nobody was told of"),
        ([("3", "batch", "processing", 0)], "batches without an outcome"),
        ([("3", "batch", "completed", 1)], "batches without an outcome"),
    ],
)
def test_harm_to_a_batch_is_seen(world: World, rows: list[tuple[Any, ...]], expected: str) -> None:
    world.rows["batches"] = rows

    assert harm(world) == [expected]


@pytest.mark.parametrize(
    ("sight", "expected"),
    [
        (Sight("1", "a", 12.0, 12.1, "failed", 2), ["statuses that were never true"]),
        (Sight("1", "a", 12.0, 12.1, "reversed", 3), ["statuses that were never true"]),
        (Sight("1", "c", 9.0, 9.1, "pending", 1), ["statuses that were never true"]),
        (Sight("9", "a", 12.0, 12.1, "processing", 1), ["statuses that were never true"]),
        (Sight("1", "b", 10.4, 10.5, "processing", 1), ["statuses that a process took back"]),
        (Sight("1", "c", 11.2, 11.3, "processing", 1), []),
        (Sight("1", "c", 11.4, 11.5, "processing", 1), ["statuses older than a second"]),
    ],
)
def test_harm_to_what_is_shown_is_seen(world: World, sight: Sight, expected: list[str]) -> None:
    world.seen.append(sight)

    assert harm(world) == expected


def test_an_error_is_harm(world: World) -> None:
    world.odds = ["500 internal"]

    assert harm(world) == ["errors and odd answers"]


def test_a_late_answer_while_redis_is_away_is_harm_and_before_it_is_not(world: World) -> None:
    world.sent.append(Attempt(begun=8.0, seconds=9.0, status=202))
    assert harm(world) == []

    world.sent.append(Attempt(begun=14.0, seconds=5.1, status=202))

    assert harm(world) == ["late answers while Redis was away"]


def test_books_that_do_not_hold_are_harm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> str:
        raise RuntimeError("trial_balance")

    monkeypatch.setattr(verdict, "finished", broken)

    assert harm(world) == ["invariants of the books"]
