"""Every invariant, broken once on a copy of the database as only its owner can, is found and named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ledger.clients.services import create_client
from ledger.queries.invariants import CHECKS, SAMPLE_SIZE, verify
from tests.commands import run
from tests.conftest import owner_connection
from tests.ledger.conftest import Demo
from tests.ledger.numbered import at_rest
from tests.scratch import pointed_at, scratch_database

GUARDED = (
    "events_position",
    "ledger_account",
    "ledger_balance",
    "ledger_transaction",
    "ledger_transactionevent",
    "ledger_journal",
    "ledger_entry",
    "ledger_timeshift",
    "ledger_shiftspan",
    "ledger_shiftsum",
    "events_outboxevent",
    "ledger_block",
    "ledger_leaf",
)
# One completed transfer with its journal, one failed transaction, and accounts without limits.
TRANSFER = "(SELECT max(id::text)::uuid FROM ledger_transaction WHERE type = 'transfer' AND status = 'completed')"
FAILED = "(SELECT max(id::text)::uuid FROM ledger_transaction WHERE status = 'failed')"
JOURNAL = f"(SELECT id FROM ledger_journal WHERE transaction_id = {TRANSFER})"
CASH = "(SELECT id FROM ledger_account WHERE path = 'cash:USD')"
ALICE = "(SELECT id FROM ledger_account WHERE path = 'users:alice:USD')"
AS_TWO_LEGS = """
jsonb_build_object('legs', jsonb_build_array(
    jsonb_build_array(debit_account_id, amount_minor::text), jsonb_build_array(credit_account_id, (-amount_minor)::text)
))
"""
REOPENED = "(SELECT id FROM ledger_transaction WHERE status = 'processing')"
REOPEN = f"""
UPDATE ledger_transaction SET status = 'processing', error_code = NULL WHERE id = {FAILED};
INSERT INTO ledger_transactionevent (
    transaction_id, from_status, to_status, amount_minor, actor, reason, request_id, at
)
SELECT id, 'failed', 'processing', amount_minor, 'mallory', '', '', now()
FROM ledger_transaction WHERE id = {REOPENED}
"""
ENQUEUE = """
INSERT INTO ledger_queuedposting (transaction_id, client_id, next_attempt_at, actor, request_id, trace)
SELECT {}, {}, now(), 'mallory', '', '' FROM ledger_transaction WHERE id = {}
"""
# Everything took effect a day before it was booked, and is known as such; of cash 32 time shifts are summed up, by two.
LATE = f"""
UPDATE ledger_journal SET effective_at = posted_at - interval '1 day' WHERE kind = 'post';
INSERT INTO ledger_timeshift (
    account_id, begins_at, account_version, ends_at, posted_minor, pending_minor, pending_debits_minor
)
SELECT e.account_id, j.effective_at, e.account_version, e.posted_at, e.amount_minor, 0, 0
FROM ledger_entry e JOIN ledger_journal j ON j.id = e.journal_id
WHERE j.kind = 'post';
SELECT ledger_fold_time_shifts({CASH}, 2, 16);
"""

# What the owner does with all guards off, and the checks that find it.
CORRUPTIONS = {
    "one line grows": (
        f"UPDATE ledger_entry SET amount_minor = amount_minor + 1 WHERE journal_id = {JOURNAL} AND line = 1",
        {
            "journals_balanced",
            "trial_balance",
            "balances_folded",
            "versions_chained",
            "transactions_booked",
            "sums_booked",
        },
    ),
    "both lines grow": (
        f"UPDATE ledger_entry SET amount_minor = amount_minor + sign(amount_minor) WHERE journal_id = {JOURNAL}",
        {"balances_folded", "versions_chained", "transactions_booked", "sums_booked"},
    ),
    "a journal expects a third line": (
        f"UPDATE ledger_journal SET entry_count = 3 WHERE id = {JOURNAL}",
        {"journals_complete"},
    ),
    "a line is numbered 3": (
        f"UPDATE ledger_entry SET line = 3 WHERE journal_id = {JOURNAL} AND line = 2",
        {"journals_complete"},
    ),
    "a journal is gone, its lines are not": (
        f"DELETE FROM ledger_journal WHERE id = {JOURNAL}",
        {"journals_complete", "transactions_booked", "sums_booked"},
    ),
    "a journal names another receipt": (
        f"UPDATE ledger_journal SET external_ref = 'RCP-20261121-0' WHERE id = {JOURNAL}",
        {"journals_of_transactions"},
    ),
    "lines change their currency": (
        f"UPDATE ledger_entry SET currency_id = 'EUR' WHERE journal_id = {JOURNAL}",
        {"entries_at_home", "transactions_booked"},
    ),
    "an account moves to another client": (
        f"UPDATE ledger_account SET client_id = (SELECT id FROM clients_client WHERE name = 'other') WHERE id = {CASH}",
        {"entries_at_home", "trial_balance", "outbox_accounts"},
    ),
    "a balance is raised": (
        f"UPDATE ledger_balance SET posted_credits = posted_credits + 1 WHERE account_id = {ALICE}",
        {"balances_folded"},
    ),
    "a version is skipped": (
        f"UPDATE ledger_balance SET version = version + 1 WHERE account_id = {ALICE}",
        {"balances_folded"},
    ),
    "a balance is gone": (f"DELETE FROM ledger_balance WHERE account_id = {CASH}", {"balances_folded"}),
    "a running sum is wrong": (
        f"UPDATE ledger_entry SET posted_after = posted_after + 1 WHERE journal_id = {JOURNAL} AND line = 1",
        {"versions_chained"},
    ),
    "a running sum of holds is wrong": (
        f"UPDATE ledger_entry SET pending_debits_after = 1 WHERE journal_id = {JOURNAL} AND line = 1",
        {"versions_chained"},
    ),
    "a line's version jumps": (
        f"""
        UPDATE ledger_entry SET account_version = 1000000
        WHERE account_id = {ALICE} AND account_version = (SELECT version FROM ledger_balance WHERE account_id = {ALICE})
        """,
        {"versions_chained"},
    ),
    "a journal is dated back": (
        f"""
        UPDATE ledger_journal SET posted_at = posted_at - interval '1 day' WHERE id = {JOURNAL};
        UPDATE ledger_entry SET posted_at = posted_at - interval '1 day' WHERE journal_id = {JOURNAL}
        """,
        {"versions_chained", "time_shifts_kept"},
    ),
    "a line is dated back alone": (
        f"""
        UPDATE ledger_entry SET posted_at = posted_at - interval '1 day'
        WHERE account_id = {CASH} AND account_version = 1
        """,
        {"entries_at_home", "time_shifts_kept"},
    ),
    "a balance falls below its floor": (
        f"""
        ALTER TABLE ledger_balance DROP CONSTRAINT balance_floor;
        UPDATE ledger_balance SET floor = posted_credits - posted_debits + 1 WHERE account_id = {ALICE}
        """,
        {"limits_respected", "constraints_in_place"},
    ),
    "a balance rises above its ceiling": (
        f"""
        ALTER TABLE ledger_balance DROP CONSTRAINT balance_ceiling;
        UPDATE ledger_balance SET ceiling = posted_credits - posted_debits - 1 WHERE account_id = {ALICE}
        """,
        {"limits_respected", "constraints_in_place"},
    ),
    "an account is closed over its money": (
        f"UPDATE ledger_account SET status = 'closed' WHERE id = {ALICE}",
        {"closed_accounts_empty"},
    ),
    "a journal takes effect an hour earlier": (
        f"UPDATE ledger_journal SET effective_at = effective_at - interval '1 hour' WHERE id = {JOURNAL}",
        {"time_shifts_kept"},
    ),
    "a time shift is made up": (
        f"""
        INSERT INTO ledger_timeshift (
            account_id, begins_at, account_version, ends_at, posted_minor, pending_minor, pending_debits_minor
        )
        VALUES ({ALICE}, now() - interval '1 day', 1, now(), 100, 0, 0)
        """,
        {"time_shifts_kept"},
    ),
    "a sum of time shifts is raised": (
        f"""
        {LATE}
        UPDATE ledger_shiftsum SET posted_minor = posted_minor + 1
        WHERE level = 1 AND moment = (SELECT max(moment) FROM ledger_shiftsum WHERE level = 1)
        """,
        {"time_shifts_folded"},
    ),
    "a sum of what time shifts hold is raised": (
        f"{LATE} UPDATE ledger_shiftsum SET pending_debits_minor = 1 WHERE level = 0 AND number = 16",
        {"time_shifts_folded"},
    ),
    "time shifts are summed up to nothing": (
        f"{LATE} DELETE FROM ledger_shiftsum WHERE level = 0 AND number = 5",
        {"time_shifts_folded"},
    ),
    "more time shifts are summed up than are folded": (
        f"{LATE} INSERT INTO ledger_shiftsum SELECT account_id, 16, 2, moment, 1, 0, 0 FROM ledger_shiftsum LIMIT 1",
        {"time_shifts_folded"},
    ),
    "time shifts have a sum at a moment of none of them": (
        f"{LATE} INSERT INTO ledger_shiftsum VALUES ({CASH}, 16, 1, '1970-01-01', 1, 0, 0)",
        {"time_shifts_folded"},
    ),
    "a span of time shifts is gone": (
        f"{LATE} DELETE FROM ledger_shiftspan WHERE number = 2",
        {"time_shifts_folded"},
    ),
    "the last span of time shifts is gone": (
        f"{LATE} DELETE FROM ledger_shiftspan WHERE number = 16",
        {"time_shifts_folded"},
    ),
    "a span of time shifts has another end": (
        f"{LATE} UPDATE ledger_shiftspan SET last_version = last_version + 1 WHERE number = 16",
        {"time_shifts_folded"},
    ),
    "a span of time shifts has another number": (
        f"{LATE} UPDATE ledger_shiftspan SET number = 17 WHERE number = 16",
        {"time_shifts_folded"},
    ),
    "a time shift that is summed up is gone": (
        f"{LATE} DELETE FROM ledger_timeshift WHERE account_id = {CASH} AND account_version = 3",
        {"time_shifts_kept", "time_shifts_folded"},
    ),
    "money is held by nobody": (
        f"UPDATE ledger_balance SET pending_debits = 5 WHERE account_id = {ALICE}",
        {"balances_folded", "pending_held"},
    ),
    "a hold's lines belong to a transaction that is not pending": (
        f"""
        UPDATE ledger_journal SET kind = 'hold' WHERE id = {JOURNAL};
        UPDATE ledger_entry SET layer = 'held' WHERE journal_id = {JOURNAL};
        UPDATE ledger_balance b
        SET posted_debits = b.posted_debits - greatest(e.amount_minor, 0),
            posted_credits = b.posted_credits - greatest(-e.amount_minor, 0),
            pending_debits = b.pending_debits + greatest(e.amount_minor, 0),
            pending_credits = b.pending_credits + greatest(-e.amount_minor, 0)
        FROM ledger_entry e WHERE e.journal_id = {JOURNAL} AND e.account_id = b.account_id
        """,
        {"pending_held", "versions_chained", "sums_booked"},
    ),
    "more is captured than was held": (
        f"UPDATE ledger_journal SET kind = 'capture' WHERE id = {JOURNAL}",
        {"holds_resolved_within", "transactions_booked"},
    ),
    "a status moves without history": (
        f"UPDATE ledger_transaction SET status = 'reversed', reversed_minor = booked_minor WHERE id = {TRANSFER}",
        {"history_ends_in_status", "sums_booked"},
    ),
    "a history makes a move that is not allowed": (
        f"""
        INSERT INTO ledger_transactionevent (
            transaction_id, from_status, to_status, amount_minor, actor, reason, request_id, at
        ) VALUES
            ({FAILED}, 'failed', 'completed', 1, 'mallory', '', '', now()),
            ({FAILED}, 'completed', 'failed', 1, 'mallory', '', '', now())
        """,
        {"history_moves_allowed", "outbox_outcomes"},
    ),
    "a history does not begin at its beginning": (
        f"UPDATE ledger_transactionevent SET from_status = 'pending' WHERE transaction_id = {TRANSFER}",
        {"history_moves_allowed"},
    ),
    "a history is gone": (
        f"DELETE FROM ledger_transactionevent WHERE transaction_id = {TRANSFER}",
        {"history_ends_in_status", "outbox_outcomes"},
    ),
    "a transaction is of another amount than its journal": (
        f"UPDATE ledger_transaction SET amount_minor = amount_minor + 1 WHERE id = {TRANSFER}",
        {"transactions_booked"},
    ),
    "a transaction's terms lead the other way": (
        f"""
        UPDATE ledger_transaction SET terms = jsonb_build_object('legs', jsonb_build_array(
            jsonb_build_array(credit_account_id, amount_minor::text),
            jsonb_build_array(debit_account_id, (-amount_minor)::text)
        ))
        WHERE id = {TRANSFER}
        """,
        {"terms_told", "transactions_booked"},
    ),
    "terms say a fee that is not among the legs": (
        f"""
        UPDATE ledger_transaction SET terms = {AS_TWO_LEGS} || '{{"fee_minor": "1"}}' WHERE id = {FAILED}
        """,
        {"terms_told"},
    ),
    "terms say an exchange that is not among the legs": (
        f"""
        UPDATE ledger_transaction SET terms = {AS_TWO_LEGS} || '{{"exchange": {{
            "credit_amount": "1.00", "credit_currency": "EUR", "rate": "1", "rate_source": "x", "rounding": "0"
        }}}}'
        WHERE id = {FAILED}
        """,
        {"terms_told"},
    ),
    "legs are of another amount than their transaction": (
        f"""
        UPDATE ledger_transaction
        SET terms = {AS_TWO_LEGS} || '{{"by_legs": true}}', debit_account_id = NULL, credit_account_id = NULL,
            amount_minor = amount_minor + 1
        WHERE id = {FAILED}
        """,
        {"terms_told"},
    ),
    "a failed transaction has no legs": (
        f"""
        UPDATE ledger_transaction
        SET terms = '{{"legs": [], "by_legs": true}}', debit_account_id = NULL, credit_account_id = NULL
        WHERE id = {FAILED}
        """,
        {"terms_told"},
    ),
    "an account is on both sides": (
        f"""
        UPDATE ledger_transaction
        SET terms = jsonb_build_object('by_legs', true, 'legs', jsonb_build_array(
                jsonb_build_array(debit_account_id, amount_minor::text),
                jsonb_build_array(debit_account_id, (-amount_minor)::text)
            )),
            debit_account_id = NULL, credit_account_id = NULL
        WHERE id = {FAILED}
        """,
        {"terms_told"},
    ),
    "the legs of a failed transaction do not balance": (
        f"""
        UPDATE ledger_transaction SET terms = jsonb_build_object('legs', jsonb_build_array(
            jsonb_build_array(debit_account_id, amount_minor::text),
            jsonb_build_array(credit_account_id, (-amount_minor - 1)::text)
        ))
        WHERE id = {FAILED}
        """,
        {"terms_told"},
    ),
    "a failed transaction has a journal": (
        f"UPDATE ledger_journal SET transaction_id = {FAILED} WHERE id = {JOURNAL}",
        {"journals_of_transactions", "transactions_booked", "sums_booked"},
    ),
    "a transaction says it reverses another": (
        f"UPDATE ledger_transaction SET reverses_id = {FAILED} WHERE id = {TRANSFER}",
        {"reversals_of_transactions", "sums_booked", "transactions_booked"},
    ),
    "an event that is not looked for any more has no position": (
        "DELETE FROM events_position WHERE position = (SELECT max(position) FROM events_position)",
        {"positions_told"},
    ),
    "two events have changed places": (
        "UPDATE events_position SET outbox_id = CASE position WHEN 1 THEN 2 ELSE 1 END WHERE position IN (1, 2)",
        {"positions_told"},
    ),
    "a position is given twice": (
        "UPDATE events_position SET position = 1 WHERE position = 2",
        {"positions_told"},
    ),
    "a sequence has a gap": (
        """
        UPDATE events_position SET sequence = sequence + 1
        WHERE position = (SELECT max(position) FROM events_position WHERE sequence > 1)
        """,
        {"positions_told"},
    ),
    "a hold is open of nothing": (
        f"INSERT INTO ledger_openhold (transaction_id, expires_at) VALUES ({TRANSFER}, now())",
        {"holds_open"},
    ),
    "a transaction is to be posted and waits nowhere": (REOPEN, {"queue_complete"}),
    "what is booked waits to be posted": (ENQUEUE.format("id", "client_id", TRANSFER), {"queue_complete"}),
    "another client's queue holds a transaction": (
        f"{REOPEN}; {ENQUEUE.format('id', 'client_id + 1', REOPENED)}",
        {"queue_complete"},
    ),
    "nothing waits to be posted": (ENQUEUE.format("gen_random_uuid()", "client_id", FAILED), {"queue_complete"}),
    "a batch lacks an item": (
        """
        INSERT INTO ledger_batch (id, client_id, mode, status, item_count, actor, request_id, trace, created_at)
        SELECT gen_random_uuid(), max(id), 'partial', 'completed', 1, 'mallory', '', '', now() FROM clients_client
        """,
        {"batches_counted"},
    ),
    "a receipt has another last character": (
        f"""
        UPDATE ledger_transaction
        SET receipt_code = left(receipt_code, -1) || CASE WHEN right(receipt_code, 1) = '0' THEN '1' ELSE '0' END
        WHERE id = {TRANSFER};
        UPDATE ledger_journal
        SET external_ref = (SELECT receipt_code FROM ledger_transaction WHERE id = {TRANSFER})
        WHERE id = {JOURNAL}
        """,
        {"receipts_of_ids"},
    ),
    "a receipt is of another day": (
        f"UPDATE ledger_transaction SET receipt_code = overlay(receipt_code PLACING '1970' FROM 5) WHERE id = {FAILED}",
        {"receipts_of_ids"},
    ),
    "a failure was never told": (
        f"DELETE FROM events_outboxevent WHERE type = 'transaction.failed' AND data::json ->> 'id' = {FAILED}::text",
        {"outbox_outcomes", "positions_told"},
    ),
    "a failure is told twice": (
        f"""
        INSERT INTO events_outboxevent (event_id, client_id, type, key, data)
        SELECT gen_random_uuid(), client_id, type, key, data FROM events_outboxevent
        WHERE type = 'transaction.failed' AND data::json ->> 'id' = {FAILED}::text
        """,
        {"outbox_outcomes"},
    ),
    "an outcome is told that never was": (
        """
        INSERT INTO events_outboxevent (event_id, client_id, type, key, data)
        SELECT gen_random_uuid(), max(id), 'transaction.completed', gen_random_uuid(), 'no JSON' FROM clients_client
        """,
        {"outbox_outcomes"},
    ),
    "an account's opening was never told": (
        "DELETE FROM events_outboxevent WHERE type = 'account.opened' AND data::json ->> 'path' = 'cash:USD'",
        {"outbox_accounts", "positions_told"},
    ),
    "a freeze was never told": (
        "DELETE FROM events_outboxevent WHERE type = 'account.frozen'",
        {"outbox_accounts", "positions_told"},
    ),
    "a closing is told that never was": (
        """
        INSERT INTO events_outboxevent (event_id, client_id, type, key, data)
        SELECT gen_random_uuid(), client_id, 'account.closed', key, data FROM events_outboxevent
        WHERE type = 'account.frozen'
        """,
        {"outbox_accounts"},
    ),
    "a guard is off": ("ALTER TABLE clients_auditentry DISABLE TRIGGER audit_entry_append_only", {"guards_in_place"}),
    "a guard of sums is gone": ("DROP TRIGGER shift_sum_append_only ON ledger_shiftsum", {"guards_in_place"}),
    "a guard is gone": ("DROP TRIGGER entry_guard ON ledger_entry", {"guards_in_place"}),
    "a guard looks away": (
        """
        DROP TRIGGER transaction_moves ON ledger_transaction;
        CREATE TRIGGER transaction_moves BEFORE UPDATE ON ledger_transaction
            FOR EACH ROW WHEN (OLD.status <> 'completed') EXECUTE FUNCTION ledger_transaction_moves()
        """,
        {"guards_in_place"},
    ),
    "a guard runs as who is guarded": (
        "ALTER FUNCTION ledger_balance_opens_empty() SECURITY INVOKER",
        {"guards_in_place"},
    ),
    "a constraint is gone": (
        "ALTER TABLE ledger_entry DROP CONSTRAINT entry_version_once",
        {"constraints_in_place"},
    ),
    "app may update lines": ("GRANT UPDATE ON ledger_entry TO app", {"privileges_narrow"}),
    "app may make up time shifts": ("GRANT INSERT ON ledger_timeshift TO app", {"privileges_narrow"}),
    "app may make up what time shifts are summed up to": (
        "GRANT INSERT ON ledger_shiftsum TO app",
        {"privileges_narrow"},
    ),
    "app may raise a balance": ("GRANT UPDATE (posted_credits) ON ledger_balance TO app", {"privileges_narrow"}),
    "everybody may delete journals": ("GRANT DELETE ON ledger_journal TO PUBLIC", {"privileges_narrow"}),
    "app may empty a partition": (
        """
        DO $$ BEGIN EXECUTE format('GRANT TRUNCATE ON %s TO app', (
            SELECT max(relid::text) FROM pg_partition_tree('events_outboxevent') WHERE isleaf
        )); END $$
        """,
        {"privileges_narrow"},
    ),
    "app may make functions": ("GRANT CREATE ON SCHEMA public TO app", {"privileges_narrow"}),
    "readonly may book": ("GRANT INSERT ON ledger_entry TO readonly", {"privileges_narrow"}),
}


@pytest.fixture
def copy(db, demo: Demo) -> Iterator[str]:
    """A copy of the demo's database, with a second client, as the one that commands of this process see."""
    with scratch_database(template=demo.database) as name, pointed_at(name):
        create_client(name="other", actor="test")
        at_rest()
        yield name


def corrupt(database: str, statements: str) -> None:
    """Run statements as the owner, with every guard of the books off while they run."""
    with owner_connection(database) as owner:
        for state in ("DISABLE", "ENABLE"):
            for table in GUARDED:
                owner.execute(f"ALTER TABLE {table} {state} TRIGGER USER")
            if state == "DISABLE":
                owner.execute(statements)


def found() -> set[str]:
    return {finding.check.name for finding in verify().findings if finding.offences}


def test_sound_books_hold(copy):
    ran = run("verify_ledger", "--json")

    assert ran.code == 0
    assert ran.answer["ok"] is True
    assert ran.answer["checks"] == {check.name: {"offences": 0, "clients": {}, "sample": []} for check in CHECKS}
    assert (ran.answer["clients"], ran.answer["transactions"]) == (2, 416)
    assert ran.answer["entries"] == 2 * (416 - 31)


@pytest.mark.parametrize("what", CORRUPTIONS)
def test_a_corruption_is_found_and_named(copy, what):
    statements, names = CORRUPTIONS[what]

    corrupt(copy, statements)

    assert found() == names


def test_sound_books_whose_time_shifts_are_summed_up_hold(copy):
    corrupt(copy, LATE)

    assert found() == set()


def test_offences_are_counted_whole_and_shown_in_part(copy):
    corrupt(copy, "UPDATE ledger_entry SET posted_after = posted_after + 1")

    ran = run("verify_ledger", "--json")

    assert (ran.code, ran.answer["ok"]) == (1, False)
    assert ran.error == "The ledger does not hold: versions_chained."
    finding = ran.answer["checks"]["versions_chained"]
    # The first line of each account is wrong; after it each follows from the wrong one before.
    assert finding["offences"] == finding["clients"]["demo"] > SAMPLE_SIZE == len(finding["sample"])
    assert finding["sample"][0].keys() == {"account_id", "path", "account_version", "version_before"}


def test_people_see_which_check_and_whose_rows(copy):
    corrupt(copy, f"UPDATE ledger_balance SET version = version + 1 WHERE account_id = {ALICE}")

    ran = run("verify_ledger")

    assert ran.code == 1
    lines = ran.out.splitlines()
    assert len(lines) == len(CHECKS) + 2 + 1
    at = next(number for number, line in enumerate(lines) if line.startswith("balances_folded"))
    assert lines[at].split()[1:3] == ["1", "offences"]
    assert lines[at + 1].strip() == "1 of demo"
    assert '"path": "users:alice:USD"' in lines[at + 2]
    assert lines[-1] == "2 clients, 416 transactions and 770 entries checked."


def test_another_client_s_offences_are_not_this_one_s_but_missing_guards_are_everybody_s(copy):
    corrupt(copy, f"UPDATE ledger_balance SET version = version + 1 WHERE account_id = {ALICE}")
    assert run("verify_ledger", "--client", "demo").code == 1
    other = run("verify_ledger", "--client", "other", "--json")
    assert (other.code, other.answer["clients"], other.answer["entries"]) == (0, 1, 0)

    corrupt(copy, "DROP TRIGGER entry_guard ON ledger_entry")
    assert run("verify_ledger", "--client", "other").error == "The ledger does not hold: guards_in_place."


def test_an_unknown_client_is_a_plain_error(copy):
    assert run("verify_ledger", "--client", "nobody").error.startswith("There is no client 'nobody'.")
