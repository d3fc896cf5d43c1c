"""Several lines of one account in one statement: the database takes them only as an unbroken chain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections

from tests.ledger.hostile import CHECKED, INTENT, Books, booking, connect, held, line, refused


@pytest.fixture(scope="module")
def books(django_db_setup, django_db_blocker) -> Iterator[Books]:
    with django_db_blocker.unblock():
        opened = Books.opened()
        yield opened
        opened.owner.close()
        connections.close_all()


def chain(**first: object) -> str:
    """Return a journal that moves 10.00 from alice to bob and holds 1.00 of bob's, with alice's first line changed."""
    lines = [
        line(1, "alice", 1000, 3, -6000) | first,
        line(2, "bob", -1000, 2, -4000),
        line(3, "alice", -100, 4, -6000, layer="'held'", pending_after=-100),
        line(4, "bob", 100, 3, -4000, layer="'held'", pending_after=100, pending_debits_after=100),
    ]
    return booking(*lines, kind="'hold'", entry_count=4)


def test_lines_that_follow_one_another_are_accepted(books: Books) -> None:
    with connect("app") as app:
        app.execute("BEGIN")
        app.execute(books.written(INTENT + chain()))
        assert books.sums(app) == {"alice": [4000, 10000, 0, 100, 4], "bob": [0, 4000, 100, 0, 3]}
        app.execute("ROLLBACK")


BROKEN = {
    "a version left out": chain(account_version=0),
    "a balance that the next line does not begin with": chain(posted_after=-6001),
    "a held balance that the next line does not begin with": chain(pending_after=1),
    "held debits that the next line does not begin with": chain(pending_debits_after=1),
}


@pytest.mark.parametrize("sql", BROKEN.values(), ids=BROKEN)
def test_a_broken_chain_is_refused_though_its_last_line_is_right(books: Books, sql: str) -> None:
    with refused(books, CHECKED) as app:
        app.execute(books.written(INTENT + sql))


def two_journals(first_at: str, second_at: str) -> str:
    """Return one statement that books twice from alice to bob, each time with a moment of its own."""
    at_first = {"posted_at": first_at}
    at_second = {"posted_at": second_at, "journal_id": "'{intent}'::uuid"}
    return booking(
        line(1, "alice", 1000, 3, -6000) | at_first,
        line(2, "bob", -1000, 2, -4000) | at_first,
        line(1, "alice", 1, 4, -5999) | at_second,
        line(2, "bob", -1, 3, -4001) | at_second,
        id="unnest(ARRAY['{new}', '{intent}']::uuid[])",
        kind="unnest(ARRAY['post', 'capture'])",
        posted_at=f"unnest(ARRAY[{first_at}, {second_at}])",
    )


NOW, LATER = "now()", "now() + interval '1 ms'"


def test_the_time_of_an_account_s_lines_may_go_on(books: Books) -> None:
    with connect("app") as app:
        app.execute("BEGIN")
        app.execute(books.written(INTENT + two_journals(NOW, LATER)))
        assert books.sums(app) == {"alice": [4001, 10000, 0, 0, 4], "bob": [0, 4001, 0, 0, 3]}
        app.execute("ROLLBACK")


def test_the_time_of_an_account_s_lines_does_not_go_back(books: Books) -> None:
    with refused(books, CHECKED) as app:
        app.execute(books.written(INTENT + two_journals(LATER, NOW)))


def test_a_void_takes_off_what_its_hold_has_put_on(books: Books) -> None:
    released = (
        line(1, "alice", -1000, 4, -7000, layer="'held'"),
        line(2, "bob", 1000, 3, -3000, layer="'held'"),
    )
    with connect("app") as app:
        app.execute("BEGIN")
        app.execute(books.written(INTENT + booking(*held(1000), kind="'hold'")))
        assert books.sums(app) == {"alice": [3000, 10000, 1000, 0, 3], "bob": [0, 3000, 0, 1000, 2]}
        app.execute(books.written(INTENT + booking(*released, kind="'void'"), number=2))
        assert books.sums(app) == {"alice": [3000, 10000, 0, 0, 4], "bob": [0, 3000, 0, 0, 3]}
        app.execute("ROLLBACK")
