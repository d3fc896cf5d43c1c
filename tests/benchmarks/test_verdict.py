"""The verdict after a storm sees every kind of harm."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from benchmarks.storm import stored, verdict
from benchmarks.storm.customers import Ask, Attempt, Makes, Sight, Told
from benchmarks.storm.faults import Interval
from benchmarks.storm.verdict import Verdict

Row = tuple[Any, ...]


def row(number: str, status: str, steps: list[list[Any]], journals: list[str], **more: Any) -> Row:
    """Return a transaction of 5.00 as the database shows it; the request that moved it first is that of its key."""
    key = more.pop("key", f"key-{number}")
    named = {"version": len(steps), "amount": 500, "booked": 0, "reversed": 0, "is_hold": False}
    fields = named | {"reverses": None, "batch": None} | more
    return (number, key, f"RCP-{number}", status, *fields.values(), journals, steps)


PAID = row(
    "1",
    "reversed",
    [
        [None, "processing", 500, "key-1"],
        ["processing", "completed", 500, "key-1"],
        ["completed", "reversed", 500, "key-5"],
    ],
    ["post"],
    version=4,
    booked=500,
    reversed=500,
)
REFUSED_BY_THE_BOOKS = row("2", "failed", [[None, "failed", 500, "key-2"]], [])
HELD = row(
    "3",
    "completed",
    [[None, "pending", 500, "key-3"], ["pending", "pending", 200, "capture"], ["pending", "completed", 0, "void"]],
    ["hold", "capture", "void"],
    booked=200,
    is_hold=True,
)
EXPIRED = row(
    "4", "expired", [[None, "pending", 500, "key-4"], ["pending", "expired", 500, ""]], ["hold", "expire"], is_hold=True
)
BACK = row("5", "completed", [[None, "completed", 300, "key-5"]], ["reversal"], amount=300, booked=300, reverses="1")
OF_A_BATCH = row(
    "6",
    "completed",
    [[None, "completed", 200, "batch"]],
    ["reversal"],
    key=None,
    amount=200,
    booked=200,
    reverses="1",
    batch="7",
)
ALL = (PAID, REFUSED_BY_THE_BOOKS, HELD, EXPIRED, BACK, OF_A_BATCH)
BATCH = ("7", "batch", "completed", 0)
FROZEN = ("freeze", "account.frozen", "8")


def paid(number: str, status: int = 201, code: str = "", **more: Any) -> Told:
    ask = Ask(f"key-{number}", "transfer", Makes.TRANSACTION, "", "", **({"amount": "5.00"} | more))
    return Told(ask, status, number, f"RCP-{number}", code)


def moved(key: str, makes: Makes, of: str, **more: Any) -> Told:
    return Told(Ask(key, key, makes, "", "", of=of, **more), 200, of)


class World:
    """A storm after which all is well: it is ground, crowd and director at once."""

    def __init__(self) -> None:
        self.books, self.environment = self, dict[str, str]()
        self.client = "storm"
        self.rows: dict[str, list[Row]] = {
            stored.TRANSACTIONS: list(ALL),
            stored.BATCHES: [BATCH],
            stored.CHANGES: [FROZEN],
        }
        self.answers = {
            "key-1": paid("1", 202),
            "key-2": paid("2", 409, "insufficient_funds"),
            "key-3": paid("3"),
            "key-4": paid("4"),
            "key-5": paid("5", of="1", amount="3.00"),
            "capture": moved("capture", Makes.MOVE, "3", amount="2.00"),
            "void": moved("void", Makes.MOVE, "3"),
            "batch": Told(Ask("batch", "batch", Makes.BATCH, "", ""), 207, "7", items=(("6", "RCP-6"),)),
            "freeze": moved("freeze", Makes.CHANGE, "8"),
            "refused": Told(Ask("refused", "transfer", Makes.TRANSACTION, "", ""), 409, None, code="account_frozen"),
        }
        self.seen = [
            Sight("1", "a", 10.0, 10.1, "processing", 1),
            Sight("1", "b", 10.2, 10.3, "completed", 2),
            Sight("1", "a", 11.2, 11.3, "processing", 1),
            Sight("1", "a", 11.4, 11.5, "completed", 2),
            Sight("1", "a", 11.6, 11.7, "completed", 3),
            Sight("1", "a", 11.8, 11.9, "reversed", 4),
            Sight("2", "a", 11.0, 11.1, "failed", 1),
            Sight("3", "a", 11.0, 11.1, "pending", 2, "2.00"),
            Sight("3", "a", 11.2, 11.3, "completed", 3, "2.00"),
        ]
        self.sent = [Attempt(begun=10.0, seconds=0.1, status=202), Attempt(begun=11.0, seconds=0.2, status=503)]
        self.odds: list[str] = []
        self.redis = [Interval("stopped", 9.0, 15.0)]
        self.done = Counter({"redis stopped": 1})

    def replace(self, number: str, **fields: Any) -> None:
        """Let a transaction be otherwise."""
        rows = [stored.Stored._make(one) for one in self.rows[stored.TRANSACTIONS]]
        self.rows[stored.TRANSACTIONS] = [tuple(one._replace(**fields) if one.id == number else one) for one in rows]

    def query(self, statement: str, *_: object) -> list[Row]:
        return self.rows[statement]

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
    asked = {one["kind"]: one for one in found.tables()[1]["rows"]}
    assert asked["transfer"] == {"kind": "transfer", "done": 3, "accepted": 1, "failed": 1, "refused": 1}
    assert (asked["capture"]["done"], asked["batch"]["done"]) == (1, 1)
    assert found.tables()[2]["rows"][0] == {"kind": "transfer", "code": "account_frozen", "times": 1}
    assert found.tables()[3]["rows"] == [{"what": "completed", "times": 1}, {"what": "expired", "times": 1}]
    assert found.tables()[5]["rows"][0]["max_ms"] == 200


@pytest.mark.parametrize(
    ("number", "fields", "expected"),
    [
        ("2", {"id": "9"}, "receipts without their transaction"),
        ("6", {"receipt": "RCP-9"}, "receipts without their transaction"),
        ("2", {"status": "processing"}, "transactions without an outcome"),
        ("4", {"status": "pending"}, "transactions without an outcome"),
        ("1", {"journals": ["post", "post"]}, "outcomes without exactly their journals"),
        ("2", {"journals": ["post"]}, "outcomes without exactly their journals"),
        ("3", {"journals": ["hold", "void"]}, "outcomes without exactly their journals"),
        ("4", {"journals": ["hold", "expire", "void"]}, "outcomes without exactly their journals"),
        ("5", {"journals": ["post"]}, "outcomes without exactly their journals"),
        ("2", {"status": "completed", "journals": ["post"]}, "outcomes other than answered"),
        ("4", {"status": "failed"}, "outcomes other than answered"),
        ("5", {"reverses": "3"}, "outcomes other than answered"),
        ("5", {"amount_minor": 301}, "outcomes other than answered"),
        ("2", {"amount_minor": 501}, "outcomes other than answered"),
        ("1", {"key": "refused"}, "transactions that nobody was told of"),
        ("6", {"batch_id": "9"}, "transactions that nobody was told of"),
        ("2", {"key": "key-1"}, "keys of two transactions"),
        ("3", {"booked_minor": 201}, "holds of which more or less was captured than answered"),
        ("1", {"reversed_minor": 200}, "more or less taken back than answered"),
        ("6", {"amount_minor": 100}, "more or less taken back than answered"),
    ],
)
def test_harm_to_a_transaction_is_seen(world: World, number: str, fields: dict[str, Any], expected: str) -> None:
    world.replace(number, **fields)

    assert expected in harm(world)


HELD_AT_FIRST = [None, "pending", 500, "key-3"]
NOT_MADE, OF_NOBODY = "captures and voids not made as answered", "captures and voids that nobody was told of"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([["pending", "completed", 0, "void"]], NOT_MADE),
        ([["pending", "pending", 100, "capture"], ["pending", "completed", 0, "void"]], NOT_MADE),
        ([["pending", "pending", 200, "capture"], ["pending", "completed", 300, "void"]], NOT_MADE),
        ([["pending", "pending", 200, "capture"]] * 2 + [["pending", "completed", 0, "void"]], NOT_MADE),
        ([["pending", "pending", 200, "capture"], ["pending", "completed", 0, "other"]], OF_NOBODY),
    ],
)
def test_harm_to_a_hold_is_seen(world: World, steps: list[list[Any]], expected: str) -> None:
    world.replace("3", steps=[HELD_AT_FIRST, *steps])

    assert expected in harm(world)


def test_a_capture_of_another_hold_than_the_one_that_was_answered_is_seen(world: World) -> None:
    world.answers["void"] = moved("void", Makes.MOVE, "4")

    assert harm(world) == [NOT_MADE]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], ["changes of accounts not made as answered"]),
        ([FROZEN, FROZEN], ["changes of accounts not made as answered"]),
        ([("freeze", "account.closed", "8")], ["changes of accounts not made as answered"]),
        ([("freeze", "account.frozen", "9")], ["changes of accounts not made as answered"]),
        ([FROZEN, ("other", "account.frozen", "8")], ["changes of accounts that nobody was told of"]),
    ],
)
def test_harm_to_an_account_is_seen(world: World, rows: list[Row], expected: list[str]) -> None:
    world.rows[stored.CHANGES] = rows

    assert harm(world) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "batches lost"),
        ([BATCH, ("9", None, "completed", 0)], "batches that nobody was told of"),
        ([("7", "batch", "processing", 0)], "batches without an outcome"),
        ([("7", "batch", "completed", 1)], "batches without an outcome"),
        ([("7", "batch", "failed", 0)], "batches other than answered"),
    ],
)
def test_harm_to_a_batch_is_seen(world: World, rows: list[Row], expected: str) -> None:
    world.rows[stored.BATCHES] = rows

    assert harm(world) == [expected]


@pytest.mark.parametrize(
    ("sight", "expected"),
    [
        (Sight("2", "a", 12.0, 12.1, "completed", 1), ["statuses that were never true"]),
        (Sight("1", "a", 12.0, 12.1, "reversed", 5), ["statuses that were never true"]),
        (Sight("1", "c", 9.0, 9.1, "pending", 1), ["statuses that were never true"]),
        (Sight("9", "a", 12.0, 12.1, "processing", 1), ["statuses that were never true"]),
        (Sight("3", "c", 9.0, 9.1, "pending", 2, "1.00"), ["statuses that were never true"]),
        (Sight("3", "c", 9.0, 9.1, "pending", 1, "2.00"), ["statuses that were never true"]),
        (Sight("1", "b", 10.4, 10.5, "processing", 1), ["statuses that a process took back"]),
        (Sight("1", "c", 11.2, 11.3, "processing", 1), []),
        (Sight("1", "c", 11.4, 11.5, "processing", 1), ["statuses older than a second"]),
    ],
)
def test_harm_to_what_is_shown_is_seen(world: World, sight: Sight, expected: list[str]) -> None:
    world.seen.append(sight)

    assert harm(world) == expected


def test_a_transaction_of_a_batch_that_was_answered_as_refused_is_harm(world: World) -> None:
    world.answers["batch"] = world.answers["batch"]._replace(code="batch_refused")
    world.rows[stored.BATCHES] = [("7", "batch", "failed", 0)]

    assert harm(world) == ["transactions that nobody was told of"]


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
