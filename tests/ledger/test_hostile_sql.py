"""Whoever holds the password of role app cannot make, lose or rewrite money: the database itself refuses it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from django.db import connections

from ledger.domain.states import MOVES, Status
from tests.apart import DATABASE
from tests.conftest import owner_connection
from tests.ledger.hostile import (
    CHECKED,
    DENIED,
    INTENT,
    NOT_NOW,
    RIGHT,
    TABLES,
    TAKEN,
    Books,
    booking,
    connect,
    held,
    line,
    lines_sql,
    refused,
    right,
)


@pytest.fixture(scope="module")
def books(django_db_setup, django_db_blocker) -> Iterator[Books]:
    with django_db_blocker.unblock():
        opened = Books.opened()
        yield opened
        opened.owner.close()
        connections.close_all()


def test_the_right_booking_is_accepted(books: Books) -> None:
    """What the tests below refuse is refused for what is wrong with it, and not for its form."""
    with connect("app") as app:
        app.execute("BEGIN")
        app.execute(books.written(INTENT + booking(*RIGHT)))
        assert books.sums(app) == {"alice": [4000, 10000, 0, 0, 3], "bob": [0, 4000, 0, 0, 2]}
        app.execute("ROLLBACK")


def test_a_hold_is_accepted_up_to_the_last_cent(books: Books) -> None:
    with connect("app") as app:
        app.execute("BEGIN")
        app.execute(books.written(INTENT + booking(*held(7000), kind="'hold'")))
        assert books.sums(app) == {"alice": [3000, 10000, 7000, 0, 3], "bob": [0, 3000, 0, 7000, 2]}
        app.execute("ROLLBACK")


BOOKINGS = {
    "a journal without entries": booking(),
    "a journal whose entries come in the next statement": booking() + ";" + lines_sql(*RIGHT),
    "a lone entry": booking(RIGHT[0]),
    "a lone entry that says so": booking(RIGHT[0], entry_count=1),
    "entries without a journal": lines_sql(*RIGHT),
    "a balanced pair for a journal that is closed": lines_sql(
        *right(of=0, line=3, journal_id="'{journal}'::uuid")[:1], *right(of=1, line=4, journal_id="'{journal}'")[1:]
    ),
    "three lines where two are announced": booking(*RIGHT, line(3, "bob", -1, 3, -4001)),
    "two pairs where one is announced": booking(*RIGHT, line(3, "alice", 1, 4, -5999), line(4, "bob", -1, 3, -4001)),
    "two lines where four are announced": booking(*RIGHT, entry_count=4),
    "lines numbered with a gap": booking(*right(of=1, line=3)),
    "unequal sides": booking(*right(of=1, amount_minor=-1001, posted_after=-4001)),
    "money from nothing": booking(*right(of=0, amount_minor=-1000, posted_after=-8000)),
    "posted on one side, held on the other": booking(
        *right(of=1, layer="'held'", posted_after=-3000, pending_after=-1000), kind="'capture'"
    ),
    "sides in two currencies": booking(RIGHT[0], line(2, "euro", -1000, 1, -1000, currency_id="'EUR'")),
    "one side called another currency": booking(*right(of=0, currency_id="'EUR'")),
    "both sides called another currency": booking(*right(currency_id="'EUR'")),
    "an account of another client": booking(RIGHT[0], line(2, "mallory", -1000, 2, -11000)),
    "a journal of another client": booking(*RIGHT, client_id="{other}"),
    "an account that does not exist": booking(*right(of=1, account_id=-1)),
    "a transaction that does not exist": booking(*RIGHT, transaction_id="'{new}'::uuid"),
    "another transaction's receipt": booking(*RIGHT, external_ref="'RCP-other'"),
    "a version left out": booking(*right(of=0, account_version=4)),
    "a version before the first": booking(*right(of=0, account_version=0)),
    "a wrong balance after": booking(*right(of=0, posted_after=-6001)),
    "a wrong held balance after": booking(*right(of=0, pending_after=1)),
    "held debits after that are not there": booking(*right(of=0, pending_debits_after=1)),
    "held debits after that are no number": booking(*right(of=0, pending_debits_after="'NaN'")),
    "held debits called credits": booking(*(one | {"pending_debits_after": 0} for one in held(1000)), kind="'hold'"),
    "held credits called debits": booking(*(one | {"pending_debits_after": 1000} for one in held(1000)), kind="'hold'"),
    "not a number": booking(*right(of=0, amount_minor="'NaN'", posted_after="'NaN'")),
    "not a number on both sides": booking(*right(amount_minor="'NaN'", posted_after="'NaN'")),
    "nothing moved": booking(*right(amount_minor=0)),
    "more than alice has": booking(line(1, "alice", 7001, 3, 1), line(2, "bob", -7001, 2, -10001)),
    "more than alice has, in two lines": booking(
        line(1, "alice", 4000, 3, -3000),
        line(2, "alice", 4000, 4, 1000),
        line(3, "bob", -8000, 2, -11000),
        entry_count=3,
    ),
    "more held than alice has": booking(*held(7001), kind="'hold'"),
    "a release of what was never held": booking(*held(-1000), kind="'void'"),
    "held lines in a posting": booking(*held(1000)),
    "booked before the transaction began": booking(
        *right(posted_at="now() - interval '1 s'"), posted_at="now() - interval '1 s'"
    ),
    "booked in the future": booking(*right(posted_at="now() + interval '1 h'"), posted_at="now() + interval '1 h'"),
    "lines of another moment than their journal": booking(*right(of=0, posted_at="now() - interval '1 s'")),
    "a journal of no known kind": booking(*RIGHT, kind="'gift'"),
    "a layer of no known name": booking(*right(of=0, layer="'other'")),
    "merged": "MERGE INTO ledger_entry USING (SELECT 1) one ON false WHEN NOT MATCHED THEN "
    + lines_sql(RIGHT[0]).replace("INTO ledger_entry ", ""),
    "by a function of the caller's own": (
        "CREATE FUNCTION pg_temp.sneak() RETURNS int LANGUAGE sql AS $f$ "
        + lines_sql(RIGHT[0])
        + " RETURNING 1 $f$; SELECT pg_temp.sneak()"
    ),
    "with the constraints deferred": "SET CONSTRAINTS ALL DEFERRED; " + booking(RIGHT[0]),
    "among temporary tables of the same names": "SET LOCAL search_path = pg_temp, public;"
    "CREATE TEMP TABLE ledger_journal AS SELECT '{new}'::uuid id, 'post' kind, 1 entry_count, now() posted_at, "
    "{client} client_id; CREATE TEMP TABLE ledger_balance AS TABLE public.ledger_balance;"
    "CREATE TEMP TABLE ledger_account AS TABLE public.ledger_account;"
    "CREATE TEMP TABLE new_entries (LIKE public.ledger_entry);"
    + lines_sql(RIGHT[0]).replace("ledger_entry", "public.ledger_entry"),
    "under functions and operators of the caller's own": "SET LOCAL search_path = pg_temp, public;"
    "CREATE FUNCTION pg_temp.ledger_entry_guard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
    "CREATE FUNCTION pg_temp.never(numeric, integer) RETURNS boolean LANGUAGE sql AS 'SELECT false';"
    "CREATE OPERATOR pg_temp.<> (LEFTARG = numeric, RIGHTARG = integer, FUNCTION = pg_temp.never);"
    + booking(*right(of=1, amount_minor=-1001, posted_after=-4001)),
}


@pytest.mark.parametrize("sql", BOOKINGS.values(), ids=BOOKINGS)
def test_the_guards_refuse(books: Books, sql: str) -> None:
    with refused(books, CHECKED) as app:
        app.execute(books.written(INTENT + sql))


COPIED = {
    "ledger_journal": (
        "id, client_id, transaction_id, external_ref, kind, entry_count, effective_at, posted_at",
        "{new},{client},{intent},RCP-hostile,post,2,2026-01-01,2026-01-01\n",
    ),
    "ledger_entry": (
        (
            "journal_id, account_id, currency_id, layer, posted_at, line, amount_minor, account_version, posted_after, "
            "pending_after, pending_debits_after"
        ),
        (
            "{journal},{alice},USD,posted,2026-01-01,3,1000,3,-6000,0,0\n"
            "{journal},{bob},USD,posted,2026-01-01,4,-1000,2,-4000,0,0\n"
        ),
    ),
}


@pytest.mark.parametrize("table", COPIED)
def test_the_guards_refuse_what_is_copied_in(books: Books, table: str) -> None:
    columns, rows = COPIED[table]
    with refused(books, CHECKED) as app:
        app.execute(books.written(INTENT))
        with app.cursor().copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)") as copy:
            copy.write(books.written(rows))


ONCE = {
    "a version that is taken": booking(*right(of=0, account_version=2)),
    "a line that is taken": lines_sql(*right(journal_id="'{journal}'::uuid")),
    "a second posting of one transaction": booking(
        *RIGHT,
        transaction_id="'{done}'::uuid",
        external_ref="(SELECT receipt_code FROM ledger_transaction WHERE id = '{done}')",
    ),
    "a second balance of one account": "INSERT INTO ledger_balance (account_id, sign) VALUES ({alice}, -1)",
}


@pytest.mark.parametrize("sql", ONCE.values(), ids=ONCE)
def test_what_is_written_once_is_not_written_again(books: Books, sql: str) -> None:
    with refused(books, TAKEN) as app:
        app.execute(books.written(INTENT + sql))


def test_a_refusal_that_is_caught_leaves_nothing(books: Books) -> None:
    before = books.everything()
    with connect("app") as app:
        caught = "DO $d$ BEGIN " + INTENT + booking(RIGHT[0]) + "; EXCEPTION WHEN check_violation THEN NULL; END $d$"
        app.execute(books.written(caught))
    assert books.everything() == before


def test_a_line_is_not_booked_before_the_line_that_it_follows(books: Books) -> None:
    """Who began first and books last may not claim the time of the beginning: balances at a moment rely on it."""
    with refused(books, CHECKED) as app:
        clock = app.execute("SELECT pg_sleep(0.001), clock_timestamp()").fetchall()[0][1]
        app.execute(
            books.written(INTENT + booking(*right(posted_at=f"'{clock}'"), posted_at=f"'{clock}'::timestamptz"))
        )
        late = (line(1, "alice", 1000, 4, -5000), line(2, "bob", -1000, 3, -5000))
        app.execute(books.written(INTENT + booking(*late), number=2))


BALANCES = {
    "not at zero": "(account_id, sign, posted_credits) VALUES (currval('ledger_account_id_seq'), -1, 100)",
    "with a version": "(account_id, sign, version) VALUES (currval('ledger_account_id_seq'), -1, 1)",
    "on the wrong side": "(account_id, sign) VALUES (currval('ledger_account_id_seq'), 1)",
    "with a floor above it": "(account_id, sign, floor) VALUES (currval('ledger_account_id_seq'), -1, 1)",
    "with a ceiling below it": "(account_id, sign, ceiling) VALUES (currval('ledger_account_id_seq'), -1, -1)",
    "without an account": "(account_id, sign) VALUES (-1, -1)",
}


@pytest.mark.parametrize("values", BALANCES.values(), ids=BALANCES)
def test_a_balance_does_not_open(books: Books, values: str) -> None:
    opened = (
        "WITH account AS (INSERT INTO ledger_account (public_id, client_id, path, kind, currency_id, status, frozen, "
        "metadata) VALUES ('{new}', {client}, 'hostile', 'liability', 'USD', 'active', 'none', '{{}}') RETURNING id)"
        " SELECT id FROM account"
    )
    with refused(books, CHECKED) as app:
        account = app.execute(books.written(opened)).fetchall()[0][0]
        app.execute("INSERT INTO ledger_balance " + values.replace("currval('ledger_account_id_seq')", str(account)))


LIMITS = {
    "a floor above what alice has": "UPDATE ledger_balance SET floor = 7001 WHERE account_id = {alice}",
    "a ceiling below what alice has": "UPDATE ledger_balance SET ceiling = 6999 WHERE account_id = {alice}",
    "a floor that is no number": "UPDATE ledger_balance SET floor = 'NaN' WHERE account_id = {alice}",
    "a ceiling that is no number": "UPDATE ledger_balance SET ceiling = 'NaN' WHERE account_id = {alice}",
    "a state that no account has": "UPDATE ledger_account SET frozen = 'maybe' WHERE id = {alice}",
    "an amount that is no number": INTENT.replace(" 1000,", " 'NaN',"),
    "an amount of nothing": INTENT.replace(" 1000,", " 0,"),
    "one account on both sides": INTENT.replace("{bob}", "{alice}"),
    "a failure without a reason": INTENT.replace("processing", "failed"),
    "more booked than asked": INTENT.replace("processing", "completed").replace("now(), 0, 0", "now(), 1001, 0"),
    "more taken back than booked": INTENT.replace("processing", "completed").replace("now(), 0, 0", "now(), 10, 11"),
    "completed and nothing booked": INTENT.replace("processing", "completed"),
    "completed and all taken back": INTENT.replace("processing", "completed").replace("0, 0)", "1000, 1000)"),
    "reversed and something left": INTENT.replace("processing", "reversed").replace("0, 0)", "1000, 999)"),
    "processing and something booked": INTENT.replace("0, 0)", "1, 0)"),
    "pending and all booked": INTENT.replace("processing", "pending").replace("0, 0)", "1000, 0)"),
    "pending without an end": INTENT.replace("processing", "pending").replace("now(), 0, 0", "NULL, 0, 0"),
    "a sum that is no number": INTENT.replace("0, 0)", "'NaN', 0)"),
}


@pytest.mark.parametrize("sql", LIMITS.values(), ids=LIMITS)
def test_the_constraints_refuse(books: Books, sql: str) -> None:
    with refused(books, CHECKED) as app:
        app.execute(books.written(sql))


# What is booked and taken back of a thousand.
SUMS = {Status.COMPLETED: (1000, 0), Status.REVERSED: (1000, 1000)}
PARTS = {Status.PENDING: (400, 0), Status.COMPLETED: (1000, 400), Status.REVERSED: (1000, 1000)}


def reason(status: Status) -> str:
    return "'gone'" if status is Status.FAILED else "NULL"


@pytest.mark.parametrize("before", Status)
def test_a_status_moves_only_along_the_table(books: Books, before: Status) -> None:
    became = []
    with connect("app") as app:
        for after in Status:
            app.execute("BEGIN")
            stands = INTENT.replace("'processing', NULL", f"'{before}', {reason(before)}")
            app.execute(books.written(stands.replace("now(), 0, 0", "now(), {}, {}".format(*SUMS.get(before, (0, 0))))))
            booked, taken_back = PARTS.get(after, (0, 0)) if before is after else SUMS.get(after, (0, 0))
            try:
                app.execute(
                    books.written(f"UPDATE ledger_transaction SET status = '{after}', error_code = {reason(after)}, ")
                    + f"booked_minor = {booked}, reversed_minor = {taken_back}, "
                    + books.written("version = version + 1 WHERE id = '{intent}'")
                )
                became.append(after)
            except psycopg.errors.ObjectNotInPrerequisiteState:
                pass
            app.execute("ROLLBACK")
    assert set(became) == MOVES[before]


# What it says, column by column; the other columns move with the status. A new column has to be added to one of them,
# and to the guard if it is one of these.
FIXED = {
    "id": "gen_random_uuid()",
    "client_id": "{other}",
    "idempotency_key": "'another'",
    "request_hash": "'\\x00'",
    "receipt_code": "'RCP-another'",
    "type": "'refund'",
    "amount_minor": "amount_minor + 1",
    "currency_id": "'EUR'",
    "debit_account_id": "{mallory}",
    "credit_account_id": "{mallory}",
    "terms": "'{{\"legs\": []}}'",
    "user_id": "'mallory'",
    "peer_user_id": "'mallory'",
    "reference": "'another'",
    "description": "'another'",
    "metadata": "'{{\"a\": 1}}'",
    "effective_at": "effective_at - interval '1 day'",
    "execute_at": "now()",
    "expires_at": "now()",
    "reverses_id": "gen_random_uuid()",
    "batch_id": "gen_random_uuid()",
    "batch_index": "7",
    "created_at": "created_at - interval '1 day'",
}
MOVING = {"status", "error_code", "attempts", "version", "completed_at", "booked_minor", "reversed_minor"}
MOVE = "status = 'reversed', reversed_minor = booked_minor, version = version + 1"


def test_each_column_of_a_transaction_is_fixed_or_moves(books: Books) -> None:
    columns = books.owner.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'ledger_transaction'::regclass AND attnum > 0"
    )
    assert {name for (name,) in columns} == FIXED.keys() | MOVING


@pytest.mark.parametrize("column", FIXED)
def test_what_a_transaction_says_never_changes_whoever_moves_it(books: Books, column: str) -> None:
    change = f"UPDATE ledger_transaction SET {MOVE}, {column} = {FIXED[column]} WHERE id = '{{done}}'"
    with refused(books, NOT_NOW, user="owner") as owner:
        owner.execute(books.written(change))


TRIED = INTENT + "UPDATE ledger_transaction SET attempts = attempts + 1 WHERE id = '{intent}'"
FAIL = "status = 'failed', error_code = 'timeout', version = version + 1"
COUNTS = {
    "an attempt too many": "attempts = attempts + 2",
    "an attempt less": "attempts = attempts - 1",
    "no attempt": "attempts = attempts",
    "a version without a move": "attempts = attempts + 1, version = version + 1",
    "a move without a version": "status = 'completed', booked_minor = 1000",
    "a version too many": "status = 'completed', booked_minor = 1000, version = version + 2",
    "a move that forgets attempts": f"{FAIL}, attempts = 0",
    "a move that counts two attempts": f"{FAIL}, attempts = attempts + 2",
}


def test_an_attempt_is_counted_and_then_a_move_with_another(books: Books) -> None:
    with connect("app") as app:
        app.execute("BEGIN")
        app.execute(books.written(TRIED))
        app.execute(books.written(f"UPDATE ledger_transaction SET {FAIL}, attempts = 2 WHERE id = '{{intent}}'"))
        app.execute("ROLLBACK")


@pytest.mark.parametrize("change", COUNTS.values(), ids=COUNTS)
def test_moves_and_attempts_are_counted_one_by_one(books: Books, change: str) -> None:
    with refused(books, NOT_NOW) as app:
        app.execute(books.written(TRIED))
        app.execute(books.written(f"UPDATE ledger_transaction SET {change} WHERE id = '{{intent}}'"))


OUTCOMES = [
    ("done", "completed_at = '1970-01-01'"),
    ("done", "attempts = attempts + 1"),
    ("done", "booked_minor = booked_minor - 1, version = version + 1"),
    ("done", "reversed_minor = 1"),
    ("failed", "booked_minor = 1, version = version + 1"),
    ("failed", "completed_at = now()"),
    ("failed", "error_code = 'x'"),
]


@pytest.mark.parametrize(("which", "change"), OUTCOMES)
def test_what_an_outcome_says_stays_as_long_as_the_status(books: Books, which: str, change: str) -> None:
    with refused(books, NOT_NOW) as app:
        app.execute(books.written(f"UPDATE ledger_transaction SET {change} WHERE id = '{{{which}}}'"))


@pytest.mark.parametrize("verb", ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0} CASCADE"])
@pytest.mark.parametrize("table", TABLES)
def test_nobody_rewrites_the_books_not_even_their_owner(books: Books, table: str, verb: str) -> None:
    columns = {
        "ledger_balance": "floor",
        "ledger_entry": "line",
        "ledger_account": "frozen",
        "ledger_timeshift": "account_version",
        "ledger_shiftspan": "number",
        "ledger_shiftsum": "number",
    }
    column = columns.get(table, "id")
    stays = verb.startswith("UPDATE") and table in {"ledger_account", "ledger_balance", "ledger_transaction"}
    if not stays:
        with refused(books, NOT_NOW, user="owner") as owner:
            owner.execute(verb.format(table, column))
    allowed = stays and table != "ledger_transaction"
    if not allowed:
        with refused(books, DENIED) as app:
            app.execute(verb.format(table, column))


def test_the_outbox_gets_whole_months_whatever_the_session_calls_the_time(books: Books) -> None:
    with connect("app") as app, owner_connection(DATABASE) as owner:
        app.execute("SET TimeZone = 'America/New_York'")
        app.execute("SELECT events_ensure_partitions(36)")
        owner.execute("SET TimeZone = 'UTC'")
        bounds = owner.execute(
            "SELECT substring(bound FROM 'FROM \\(''(.*?)''\\)'), substring(bound FROM 'TO \\(''(.*?)''\\)') FROM ("
            "SELECT pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits i JOIN pg_class c ON c.oid = inhrelid"
            " WHERE inhparent = 'events_outboxevent'::regclass) bounds ORDER BY 1"
        ).fetchall()
    assert [end for _, end in bounds[:-1]] == [begin for begin, _ in bounds[1:]]
    assert {begin[7:] for begin, _ in bounds} == {"-01 00:00:00+00"}
