"""The record finds what was changed after it was sealed (I18): any byte, on a copy, as only the owner can."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from config.runtime.sql import sql_file
from ledger.clients.services import create_client
from ledger.queries.invariants import CHECKS, Head, verify
from ledger.queries.leaves import LEAVES
from tests.commands import run
from tests.conftest import owner_connection
from tests.ledger.conftest import Demo
from tests.ledger.sealed import RECORD_CHECKS, rows, sealed
from tests.ledger.test_verify_ledger import CORRUPTIONS as OF_BOOKS
from tests.ledger.test_verify_ledger import JOURNAL, TRANSFER, corrupt
from tests.scratch import pointed_at, scratch_database

# A value of the same type that is another one, and as near as there is.
OTHER = {
    "uuid": "set_byte(uuid_send({0}), 15, get_byte(uuid_send({0}), 15) # 1)",
    "character varying": "left({0}, -1) || chr(ascii(right({0}, 1)) # 1)",
    "smallint": "{0} + 1",
    "integer": "{0} + 1",
    "bigint": "{0} + 1",
    "numeric": "{0} + 1",
    "timestamp with time zone": "{0} + interval '1 microsecond'",
    "jsonb": """{0} || '{{" ": 0}}'""",
    "bytea": "set_bit({0}, 0, 1 - get_bit({0}, 0))",
}
NEW = {
    "uuid": "gen_random_uuid()",
    "character varying": "'x'",
    "smallint": "0",
    "bigint": "0",
    "timestamp with time zone": "now()",
    "jsonb": "'{}'",
}
# What of a transaction moves on, and is no part of what was asked.
MOVES = {"status", "error_code", "attempts", "version", "completed_at", "booked_minor", "reversed_minor"}
ROWS = {
    "ledger_journal": f"id = {JOURNAL}",
    "ledger_entry": f"journal_id = {JOURNAL} AND line = 2",
    "ledger_transaction": f"id = {TRANSFER}",
}
BLOCK = f"(SELECT block_number FROM ledger_leaf WHERE journal_id = {JOURNAL})"
LAST = "(SELECT max(number) FROM ledger_block)"
REHASHED = """
sha256('\\x0201'::bytea || convert_to((
    SELECT string_agg(octet_length(field) || ':' || field, '' ORDER BY place)
    FROM unnest(ARRAY[
        number::text, first_position::text, last_position::text, journal_count::text, encode(merkle_root, 'hex'),
        encode(previous_hash, 'hex'), trim_scale(extract(epoch FROM sealed_at) * 1000000)::text
    ]) WITH ORDINALITY AS part (field, place)
), 'UTF8'))
"""

# What the owner does with all guards off, and the checks that find it.
CORRUPTIONS = {
    "a sealed journal takes effect a microsecond later": (
        f"UPDATE ledger_journal SET effective_at = effective_at + interval '1 microsecond' WHERE id = {JOURNAL}",
        {"leaves_kept"},
    ),
    "what was asked was another thing": (
        f"""UPDATE ledger_transaction SET metadata = '{{"order": 1}}' WHERE id = {TRANSFER}""",
        {"leaves_kept"},
    ),
    "an account is another one": (
        "UPDATE ledger_account SET public_id = gen_random_uuid() WHERE path = 'users:alice:USD'",
        {"leaves_kept", "outbox_accounts"},
    ),
    "a journal is gone with its lines": (
        f"DELETE FROM ledger_entry WHERE journal_id = {JOURNAL}; DELETE FROM ledger_journal WHERE id = {JOURNAL}",
        {"leaves_kept", "balances_folded", "versions_chained", "transactions_booked", "sums_booked"},
    ),
    "a journal is in no block": (
        f"DELETE FROM ledger_leaf WHERE journal_id = {JOURNAL}",
        {"journals_sealed", "blocks_rooted"},
    ),
    "two leaves have changed places": (
        f"""
        UPDATE ledger_leaf SET index = -1 WHERE block_number = {BLOCK} AND index = 0;
        UPDATE ledger_leaf SET index = 0 WHERE block_number = {BLOCK} AND index = 1;
        UPDATE ledger_leaf SET index = 1 WHERE block_number = {BLOCK} AND index = -1
        """,
        {"blocks_rooted"},
    ),
    "two journals have changed places": (
        """
        UPDATE ledger_leaf l SET hash = o.hash FROM ledger_leaf o
        WHERE l.block_number = 1 AND o.block_number = 1 AND l.index < 2 AND o.index = 1 - l.index
        """,
        {"leaves_kept", "blocks_rooted"},
    ),
    "a block has another root, and a hash that fits": (
        f"""
        UPDATE ledger_block SET merkle_root = sha256('') WHERE number = 1;
        UPDATE ledger_block SET hash = {REHASHED} WHERE number = 1
        """,
        {"blocks_rooted", "blocks_chained"},
    ),
    "a block is gone": (
        "DELETE FROM ledger_block WHERE number = 2",
        {"blocks_rooted", "blocks_chained"},
    ),
    "the last block is gone with its leaves": (
        f"""
        DELETE FROM ledger_leaf WHERE block_number = {LAST};
        DELETE FROM ledger_block WHERE number = {LAST}
        """,
        {"journals_sealed", "head_noted"},
    ),
    "the sealer is to pass over what comes": (
        "UPDATE ledger_sealing SET last_position = last_position + 1000",
        {"blocks_chained"},
    ),
    "the sealer is to begin anew": (
        "UPDATE ledger_sealing SET last_position = 0",
        {"blocks_chained"},
    ),
    "the sealer has forgotten where it is": ("DELETE FROM ledger_sealing", {"blocks_chained"}),
    "blocks may be changed": ("DROP TRIGGER block_append_only ON ledger_block", {"guards_in_place"}),
    "leaves may be changed": ("DROP TRIGGER leaf_append_only ON ledger_leaf", {"guards_in_place"}),
    "app may change blocks": ("GRANT UPDATE ON ledger_block TO app", {"privileges_narrow"}),
}


@pytest.fixture
def copy(db, demo: Demo) -> Iterator[str]:
    """A copy of the demo's database, all of it sealed in several blocks, as the one that this process sees."""
    with scratch_database(template=demo.database) as name, pointed_at(name):
        create_client(name="other", actor="test")
        assert len(sealed(100)) >= 4
        yield name


def noted() -> Head:
    return Head(*rows("SELECT number, encode(hash, 'hex') FROM ledger_block ORDER BY number DESC LIMIT 1")[0])


def found(head: Head | None = None) -> set[str]:
    return {finding.check.name for finding in verify(noted=head).findings if finding.offences}


def columns(owner: psycopg.Connection, table: str) -> dict[str, str]:
    """Return the types of a table's columns."""
    query = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
    return dict(owner.execute(query, [table]).fetchall())


def without_guards(owner: psycopg.Connection, table: str) -> None:
    """Let everything pass until the transaction is rolled back."""
    owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    constraints = "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('c', 'u', 'p')"
    for (name,) in owner.execute(constraints, [table]).fetchall():
        owner.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


def offending(owner: psycopg.Connection) -> dict[str, int]:
    """Return how many rows each check of the record finds, as this transaction sees them."""
    queries = {name: sql_file("ledger/queries", f"invariants/{name}") for name in RECORD_CHECKS}
    counts = {name: len(owner.execute(query.replace("{leaves}", LEAVES)).fetchall()) for name, query in queries.items()}
    return {name: count for name, count in counts.items() if count}


def changed(column: str, kind: str) -> str:
    value = OTHER[kind].format(column)
    if kind == "uuid":
        value = f"encode({value}, 'hex')::uuid"
    return f"CASE WHEN {column} IS NULL THEN {NEW[kind]} ELSE {value} END" if kind in NEW else value


def test_books_that_were_sealed_hold_and_the_head_is_told(copy: str) -> None:
    ran = run("verify_ledger", "--json")
    assert (ran.code, ran.answer["head"]) == (0, noted()._asdict())
    assert run("verify_ledger").out.splitlines()[-1] == "The record ends with block {}:{}.".format(*noted())


@pytest.mark.parametrize("table", ROWS)
def test_a_change_of_any_column_of_what_is_sealed_is_found(copy: str, table: str) -> None:
    with owner_connection(copy) as owner:
        kinds = {name: kind for name, kind in columns(owner, table).items() if name not in MOVES}
        others = {}
        for column, kind in kinds.items():
            with owner.transaction(force_rollback=True):
                without_guards(owner, table)
                done = owner.execute(f"UPDATE {table} SET {column} = {changed(column, kind)} WHERE {ROWS[table]}")
                assert done.rowcount == 1
                if offending(owner) != {"leaves_kept": 1}:
                    others[column] = offending(owner)
        assert offending(owner) == {}
    assert len(kinds) == {"ledger_journal": 8, "ledger_entry": 11, "ledger_transaction": 23}[table]
    # A journal of another id is one that is missing and one that is not sealed.
    assert others == ({"id": {"leaves_kept": 1, "journals_sealed": 1}} if table == "ledger_journal" else {})


@pytest.mark.parametrize("table", ["ledger_block", "ledger_leaf"])
def test_a_change_of_any_column_of_the_record_itself_is_found(copy: str, table: str) -> None:
    with owner_connection(copy) as owner:
        kinds = columns(owner, table)
        for column, kind in kinds.items():
            for row in ("number = 2", f"number = {LAST}") if table == "ledger_block" else (f"journal_id = {JOURNAL}",):
                with owner.transaction(force_rollback=True):
                    without_guards(owner, table)
                    owner.execute(f"UPDATE {table} SET {column} = {changed(column, kind)} WHERE {row}")
                    assert offending(owner), (column, row)
        assert offending(owner) == {}
    assert len(kinds) == {"ledger_block": 8, "ledger_leaf": 4}[table]


@pytest.mark.parametrize("what", CORRUPTIONS)
def test_a_corruption_is_found_and_named(copy: str, what: str) -> None:
    statements, names = CORRUPTIONS[what]
    head = noted()

    corrupt(copy, statements)

    assert found(head) == names


def test_there_is_a_corruption_for_every_check() -> None:
    named = [names for _, names in (*OF_BOOKS.values(), *CORRUPTIONS.values())]
    assert set().union(*named) == {check.name for check in CHECKS}


def test_a_record_that_was_made_anew_is_found_by_the_head_that_was_noted(copy: str) -> None:
    head = noted()
    corrupt(
        copy,
        f"""
        UPDATE ledger_journal SET effective_at = effective_at + interval '1 microsecond' WHERE id = {JOURNAL};
        DELETE FROM ledger_leaf; DELETE FROM ledger_block; UPDATE ledger_sealing SET last_position = 0
        """,
    )
    sealed(100)

    assert found() == set()
    assert found(head) == {"head_noted"}
    ran = run("verify_ledger", "--noted", f"{head.number}:{head.hash}")
    assert (ran.code, ran.error) == (1, "The ledger does not hold: head_noted.")
    assert run("verify_ledger", "--noted", "{}:{}".format(*noted())).code == 0


def test_the_journal_and_its_block_are_named(copy: str) -> None:
    journal, block = rows(f"SELECT journal_id, block_number FROM ledger_leaf WHERE journal_id = {JOURNAL}")[0]
    corrupt(copy, f"UPDATE ledger_entry SET posted_at = posted_at + interval '1 day' WHERE journal_id = '{journal}'")

    finding = run("verify_ledger", "--json").answer["checks"]["leaves_kept"]

    assert (finding["offences"], finding["clients"]) == (1, {"demo": 1})
    (row,) = finding["sample"]
    assert (row["journal_id"], row["block_number"]) == (str(journal), block)


def test_what_is_noted_has_to_be_a_number_and_a_hash(db) -> None:
    assert "is no block's number and hash" in run("verify_ledger", "--noted", "7").error
