"""Ten at once go for the same hold or the same booking: exactly one wins, and who loses is told so by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice
from threading import Barrier
from typing import Any

import pytest

from ledger.models import Journal, OpenHold
from ledger.queries.invariants import verify
from ledger.services.holds import expire_holds
from tests.ledger.ended import expired
from tests.ledger.locks import in_thread
from tests.people import URL, Tenant, body

RACERS = 10
FORMS: dict[str, dict[str, Any]] = {
    "two accounts": body("6.00"),
    "legs": {
        "type": "transfer",
        "legs": [
            {"account": "users:alice:USD", "side": "debit", "amount": "6.00", "currency": "USD"},
            {"account": "users:bob:USD", "side": "credit", "amount": "5.00", "currency": "USD"},
            {"account": "tax:USD", "side": "credit", "amount": "1.00", "currency": "USD"},
        ],
    },
}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@pytest.fixture
def people(bank: Tenant) -> Tenant:
    """A bank where alice holds 10.00, bob nothing, and the tax nothing either."""
    bank.person("alice", holding="10.00")
    bank.person("bob")
    bank.open("tax:USD")
    return bank


def made(people: Tenant, form: dict[str, Any], **more: Any) -> str:
    answer = people.post(URL, form | more)
    assert answer.status_code == 201
    return str(answer.json()["id"])


def raced(people: Tenant, transaction: str, ways: Sequence[str], key: str | None = None, **asked: Any) -> list[Any]:
    """Do it in these ways in turn, ten at once, and return the answers."""
    begin = Barrier(RACERS)

    def race(way: str) -> Any:
        begin.wait()
        return people.post(f"{URL}/{transaction}/{way}", asked, key=key)

    with ThreadPoolExecutor(RACERS) as pool:
        racing = [pool.submit(in_thread, partial(race, way)) for way in islice(cycle(ways), RACERS)]
        return [one.result() for one in racing]


def won(answers: list[Any]) -> list[Any]:
    return [answer.json() for answer in answers if answer.status_code < 300]


def refusals(answers: list[Any]) -> set[tuple[int, str]]:
    return {(answer.status_code, answer.json()["code"]) for answer in answers if answer.status_code >= 300}


def posted(people: Tenant) -> list[int]:
    return [people.posted(people.account(path)) for path in ("users:alice:USD", "users:bob:USD", "tax:USD")]


def kinds(transaction: str) -> list[str]:
    return sorted(Journal.objects.filter(transaction_id=transaction).values_list("kind", flat=True))


@forms
@pytest.mark.parametrize("ways", [["capture"], ["void"], ["capture", "void"]], ids="-and-".join)
def test_of_ten_that_end_a_hold_at_once_exactly_one_does(people: Tenant, form: Any, ways: list[str]) -> None:
    hold = made(people, form, capture="manual")

    answers = raced(people, hold, ways)

    (winner,) = won(answers)
    is_captured = winner["status"] == "completed"
    assert refusals(answers) == {(409, "hold_captured" if is_captured else "hold_voided")}
    assert kinds(hold) == sorted(["hold", "capture" if is_captured else "void"])
    taken = (600, 500, 100) if form is FORMS["legs"] else (600, 600, 0)
    alice, bob, tax = taken if is_captured else (0, 0, 0)
    assert posted(people) == [1000 - alice, bob, tax]
    assert not OpenHold.objects.filter(transaction_id=hold).exists()
    assert verify(client_id=people.client.pk).holds


@forms
def test_of_ten_that_take_it_back_at_once_exactly_one_does(people: Tenant, form: Any) -> None:
    booked = made(people, form)

    answers = raced(people, booked, ["reverse"])

    (winner,) = won(answers)
    assert (winner["reverses"], winner["status"]) == (booked, "completed")
    assert refusals(answers) == {(409, "reversal_exceeds_original")}
    assert posted(people) == [1000, 0, 0]
    assert verify(client_id=people.client.pk).holds


def test_parts_that_are_captured_at_once_never_exceed_the_hold(people: Tenant) -> None:
    hold = made(people, FORMS["two accounts"], capture="manual")

    answers = raced(people, hold, ["capture"], amount="1.00")

    assert sorted(one["captured"] for one in won(answers)) == [f"{number}.00" for number in range(1, 7)]
    assert refusals(answers) == {(409, "hold_captured")}
    assert (kinds(hold), posted(people)) == (["capture"] * 6 + ["hold"], [400, 600, 0])
    assert verify(client_id=people.client.pk).holds


def test_parts_that_are_taken_back_at_once_never_exceed_what_was_booked(people: Tenant) -> None:
    booked = made(people, FORMS["two accounts"])

    answers = raced(people, booked, ["reverse"], amount="1.00")

    assert len(won(answers)) == 6
    assert refusals(answers) == {(409, "reversal_exceeds_original")}
    shown = people.get(f"{URL}/{booked}").json()
    assert (shown["status"], shown["reversed"], posted(people)) == ("reversed", "6.00", [1000, 0, 0])
    assert verify(client_id=people.client.pk).holds


@pytest.mark.parametrize("way", ["capture", "void", "reverse"])
def test_ten_equal_requests_with_one_key_are_one(people: Tenant, way: str) -> None:
    more = {} if way == "reverse" else {"capture": "manual"}
    transaction = made(people, FORMS["two accounts"], **more)

    answers = raced(people, transaction, [way], key="once")

    assert Counter("Idempotent-Replayed" in answer for answer in answers) == {False: 1, True: 9}
    assert len(won(answers)) == RACERS
    assert len({one["id"] for one in won(answers)}) == 1
    assert posted(people) == ([400, 600, 0] if way == "capture" else [1000, 0, 0])
    assert verify(client_id=people.client.pk).holds


def test_ten_sweepers_let_go_what_has_expired_once_and_nobody_captures_it(people: Tenant) -> None:
    hold = made(people, FORMS["legs"], capture="manual")
    expired(hold)
    begin = Barrier(RACERS)

    def sweep() -> int:
        begin.wait()
        return expire_holds()

    with ThreadPoolExecutor(2 * RACERS) as pool:
        sweeping = [pool.submit(in_thread, sweep) for _ in range(RACERS)]
        answers = raced(people, hold, ["capture", "void"])
        ended = [one.result() for one in sweeping]

    assert refusals(answers) == {(409, "hold_expired")}
    assert won(answers) == []
    assert sum(ended) >= 1  # holds that other tests have left may be over by now, too
    assert (kinds(hold), posted(people)) == (["expire", "hold"], [1000, 0, 0])
    assert verify(client_id=people.client.pk).holds
