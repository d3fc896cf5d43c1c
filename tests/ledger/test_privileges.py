"""What role app and role readonly may do, table by table; everything else is denied."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connections

from tests.apart import DATABASE
from tests.conftest import owner_connection
from tests.ledger.hostile import DENIED, Books, connect, refused

ANYTHING = "DELETE, INSERT, SELECT, UPDATE"
# A new table has to be added here, with what each role needs and no more.
APP = {
    "auth_group": ANYTHING,
    "auth_group_permissions": ANYTHING,
    "auth_permission": ANYTHING,
    "auth_user": ANYTHING,
    "auth_user_groups": ANYTHING,
    "auth_user_user_permissions": ANYTHING,
    "clients_apikey": "INSERT, SELECT, UPDATE (expires_at, label, last_used_at, revoked_at)",
    "clients_auditentry": "INSERT, SELECT",
    "clients_client": "INSERT, SELECT, UPDATE (name, tier)",
    "clients_idempotencykey": "INSERT, SELECT",
    "clients_routeuse": "DELETE, INSERT, SELECT, UPDATE (count)",
    "django_admin_log": "INSERT, SELECT",
    "django_content_type": "SELECT",
    "django_migrations": "SELECT",
    "django_session": ANYTHING,
    "events_cursor": "INSERT, SELECT, UPDATE (position)",
    "events_deadletter": "INSERT, SELECT, "
    "UPDATE (attempts, error, error_code, failed_at, last_error, reason, replay_count, resolved_at, resolved_by, "
    "status)",
    "events_outbox_id": "USAGE",
    "events_key": "INSERT, SELECT, UPDATE (last_sequence)",
    "events_numbering": "SELECT, UPDATE (fence_id, fence_xid, last_position, low_id)",
    "events_outboxevent": "INSERT, SELECT",
    "events_parked": "DELETE, INSERT, SELECT, UPDATE (attempts, error, error_code, next_attempt_at)",
    "events_parkedmessage": "DELETE, INSERT, SELECT, UPDATE (attempts, next_attempt_at)",
    "events_position": "INSERT, SELECT",
    "events_processed": "DELETE, INSERT, SELECT",
    "events_suspect": "DELETE, INSERT, SELECT",
    "ledger_account": "INSERT, SELECT, UPDATE (frozen, metadata, status)",
    "ledger_balance": "INSERT, SELECT, UPDATE (ceiling, floor)",
    "ledger_batch": "INSERT, SELECT, UPDATE (completed_at, next_attempt_at, status, waiting_count)",
    "ledger_batchitem": "INSERT, SELECT, UPDATE (attempts, body, error, replayed, transaction_id)",
    "ledger_block": "INSERT, SELECT",
    "ledger_currency": "SELECT",
    "ledger_entry": "INSERT, SELECT",
    "ledger_folding": "SELECT, UPDATE (last_block)",
    "ledger_journal": "INSERT, SELECT",
    "ledger_leaf": "INSERT, SELECT",
    "ledger_openhold": "DELETE, INSERT, SELECT",
    "ledger_queuedposting": "DELETE, INSERT, SELECT, UPDATE (next_attempt_at)",
    "ledger_reconciliation": "INSERT, SELECT",
    "ledger_reconciliationbreak": "INSERT, SELECT",
    "ledger_sealing": "SELECT, UPDATE (last_position)",
    "ledger_shiftspan": "SELECT",
    "ledger_shiftsum": "SELECT",
    "ledger_timeshift": "SELECT",
    "ledger_transaction": "INSERT, SELECT, "
    "UPDATE (attempts, booked_minor, completed_at, error_code, reversed_minor, status, version)",
    "ledger_transactionevent": "INSERT, SELECT",
}
READONLY = {
    "clients_apikey": "SELECT "
    "(client_id, created_at, expires_at, key_id, label, last_used_at, networks, replaces_id, revoked_at, scopes)",
    "clients_auditentry": "SELECT",
    "clients_client": "SELECT",
    "clients_idempotencykey": "SELECT",
    "clients_routeuse": "SELECT",
    "django_content_type": "SELECT",
    "django_migrations": "SELECT",
    "events_deadletter": "SELECT",
    "events_cursor": "SELECT",
    "events_key": "SELECT",
    "events_numbering": "SELECT",
    "events_outboxevent": "SELECT",
    "events_parked": "SELECT",
    "events_parkedmessage": "SELECT",
    "events_position": "SELECT",
    "events_processed": "SELECT",
    "events_suspect": "SELECT",
    "ledger_account": "SELECT",
    "ledger_balance": "SELECT",
    "ledger_batch": "SELECT",
    "ledger_batchitem": "SELECT",
    "ledger_block": "SELECT",
    "ledger_currency": "SELECT",
    "ledger_entry": "SELECT",
    "ledger_folding": "SELECT",
    "ledger_journal": "SELECT",
    "ledger_leaf": "SELECT",
    "ledger_openhold": "SELECT",
    "ledger_queuedposting": "SELECT",
    "ledger_reconciliation": "SELECT",
    "ledger_reconciliationbreak": "SELECT",
    "ledger_sealing": "SELECT",
    "ledger_shiftspan": "SELECT",
    "ledger_shiftsum": "SELECT",
    "ledger_timeshift": "SELECT",
    "ledger_transaction": "SELECT",
    "ledger_transactionevent": "SELECT",
}
# Granted to the role or to everybody: on whole relations, then column by column.
GRANTED = """
WITH relation AS (
    SELECT oid, relname, relacl, relkind FROM pg_class
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relnamespace <> ALL (
        ARRAY['pg_catalog', 'information_schema', 'pg_toast']::regnamespace[]
    )
),
grantee AS (SELECT 0 AS oid UNION ALL SELECT %(role)s::regrole)
SELECT relname, privilege_type, NULL
FROM relation, aclexplode(relacl) acl
WHERE acl.grantee IN (SELECT oid FROM grantee)
UNION ALL
SELECT relname, privilege_type, attname
FROM relation
JOIN pg_attribute ON attrelid = relation.oid, aclexplode(attacl) acl
WHERE acl.grantee IN (SELECT oid FROM grantee)
"""


@pytest.fixture(scope="module")
def books(django_db_setup, django_db_blocker) -> Iterator[Books]:
    with django_db_blocker.unblock():
        opened = Books.opened()
        yield opened
        opened.owner.close()
        connections.close_all()


def privileges_of(role: str) -> dict[str, str]:
    """Return each relation's privileges, with their columns where they are bound to columns."""
    found: dict[str, dict[str, list[str]]] = {}
    with owner_connection(DATABASE) as owner:
        for relation, privilege, column in owner.execute(GRANTED, {"role": role}):
            columns = found.setdefault(relation, {}).setdefault(privilege, [])
            columns += [column] if column else []
    return {
        relation: ", ".join(
            f"{privilege} ({', '.join(sorted(columns))})" if columns else privilege
            for privilege, columns in sorted(privileges.items())
        )
        for relation, privileges in found.items()
    }


@pytest.mark.parametrize(("role", "expected"), [("app", APP), ("readonly", READONLY)])
def test_every_privilege_is_meant(db, role: str, expected: dict[str, str]) -> None:
    assert privileges_of(role) == expected


def test_no_table_has_been_forgotten(db) -> None:
    query = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    with owner_connection(DATABASE) as owner:
        tables = {name for (name,) in owner.execute(query)}
    partitions = {name for name in tables if re.fullmatch(r"events_(outboxevent|position)_\d{6}", name)}
    assert len(partitions) >= 13
    assert tables - partitions == APP.keys() - {"events_outbox_id"}


@pytest.mark.parametrize("role", ["app", "readonly"])
def test_a_role_is_nothing_but_itself(db, role: str) -> None:
    with connect(role) as connection:
        attributes = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles "
            "WHERE rolname = %s",
            [role],
        ).fetchone()
        groups = connection.execute("SELECT 1 FROM pg_auth_members WHERE member = %s::regrole", [role]).fetchall()
        makes = connection.execute(
            "SELECT has_schema_privilege('public', 'CREATE'), has_database_privilege(current_database(), 'CREATE')"
        ).fetchone()
        owns = connection.execute("SELECT 1 FROM pg_shdepend WHERE refobjid = %s::regrole AND deptype = 'o'", [role])
        assert (attributes, groups, makes, owns.fetchall()) == ((False,) * 5, [], (False, False), [])


FUNCTIONS = {
    "app": [
        "events_drop_partitions(integer)",
        "events_ensure_partitions(integer)",
        "events_lane(uuid)",
        "ledger_fold_time_shifts(bigint,integer,integer)",
    ],
    "readonly": [],
}


@pytest.mark.parametrize(("role", "expected"), FUNCTIONS.items())
def test_a_role_calls_no_function_of_ours_but_these(db, role: str, expected: list[str]) -> None:
    with connect(role) as connection:
        callable_ = connection.execute(
            "SELECT oid::regprocedure::text FROM pg_proc "
            "WHERE pronamespace = 'public'::regnamespace AND has_function_privilege(oid, 'EXECUTE') ORDER BY 1"
        )
        assert [name for (name,) in callable_] == expected


def test_every_function_that_runs_as_owner_names_its_schemas(db) -> None:
    with owner_connection(DATABASE) as owner:
        paths = owner.execute("SELECT proname, proconfig FROM pg_proc WHERE prosecdef AND proowner = 'owner'::regrole")
        found = {name: (config or [""])[0] for name, config in paths}
    assert len(found) >= 4
    assert set(found.values()) == {"search_path=public, pg_temp"}


GUARDS = ("ledger_entry_guard", "ledger_journal_guard", "ledger_balance_opens_empty", "ledger_transaction_moves")
FORGERIES = {
    **{f"{name} without triggers": f"ALTER TABLE {name} DISABLE TRIGGER ALL" for name in APP if "ledger" in name},
    **{f"another {name}": f"CREATE OR REPLACE FUNCTION public.{name}() RETURNS trigger LANGUAGE plpgsql AS "
       "'BEGIN RETURN NULL; END'" for name in GUARDS},
    **{f"no {name}": f"DROP FUNCTION {name}() CASCADE" for name in GUARDS},
    **{f"{name} softened": f"ALTER FUNCTION {name}() RESET ALL" for name in GUARDS},
    **{f"{name} on a table of one's own": "CREATE TEMP TABLE own (LIKE ledger_entry); CREATE TRIGGER own AFTER INSERT "
       "ON own REFERENCING NEW TABLE AS new_entries FOR EACH STATEMENT EXECUTE FUNCTION " + f"{name}()"
       for name in (*GUARDS, "refuse_change")},
    "a balance raised": "UPDATE ledger_balance SET posted_credits = posted_credits + 1 WHERE account_id = {alice}",
    "a balance relieved": "UPDATE ledger_balance SET posted_debits = 0 WHERE account_id = {alice}",
    "a hold lifted": "UPDATE ledger_balance SET pending_debits = 0 WHERE account_id = {alice}",
    "a credit held": "UPDATE ledger_balance SET pending_credits = 1 WHERE account_id = {alice}",
    "a version skipped": "UPDATE ledger_balance SET version = version + 1 WHERE account_id = {alice}",
    "a sign turned": "UPDATE ledger_balance SET sign = 1 WHERE account_id = {alice}",
    "a balance given to another": "UPDATE ledger_balance SET account_id = -1 WHERE account_id = {alice}",
    "a balance replaced": "INSERT INTO ledger_balance (account_id, sign) VALUES ({alice}, -1) ON CONFLICT (account_id) "
    "DO UPDATE SET posted_credits = 1000000",
    "a balance merged": "MERGE INTO ledger_balance USING (SELECT 1) one ON account_id = {alice} "
    "WHEN MATCHED THEN UPDATE SET posted_credits = 1000000",
    "an entry replaced": "INSERT INTO ledger_entry SELECT * FROM ledger_entry WHERE journal_id = '{journal}' "
    "ON CONFLICT (journal_id, line) DO UPDATE SET amount_minor = 1",
    "an entry changed by a CTE": "WITH gone AS (DELETE FROM ledger_entry RETURNING 1) SELECT count(*) FROM gone",
    "a journal deleted": "DELETE FROM ledger_journal WHERE id = '{journal}'",
    "an amount changed": "UPDATE ledger_transaction SET amount_minor = 1 WHERE id = '{done}'",
    "an account given away": "UPDATE ledger_account SET client_id = {other} WHERE id = {alice}",
    "an account turned": "UPDATE ledger_account SET kind = 'asset' WHERE id = {alice}",
    "a currency with other decimals": "UPDATE ledger_currency SET exponent = 0 WHERE code = 'USD'",
    "a currency of one's own": "INSERT INTO ledger_currency VALUES ('FAKE', 0, 'Fake')",
    "a partition written to": "INSERT INTO {partition} SELECT * FROM events_outboxevent LIMIT 1",
    "a partition read": "SELECT * FROM {partition}",
    "a partition emptied": "TRUNCATE {partition}",
    "a partition changed": "UPDATE {partition} SET type = ''",
    "a partition deleted from": "DELETE FROM {partition}",
    "a partition detached": "ALTER TABLE events_outboxevent DETACH PARTITION {partition}",
    "the outbox turned back": "SELECT setval('events_outbox_id', 1)",
    "replicated": "SET session_replication_role = replica",
    "for good": "ALTER ROLE app SET session_replication_role = replica",
    "as owner": "SET ROLE owner",
    "as superuser": "SET SESSION AUTHORIZATION postgres",
    "a role of one's own": "CREATE ROLE mallory SUPERUSER",
    "a default of one's own": "ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT ALL ON TABLES TO app",
    "a table": "CREATE TABLE public.mine (id int)",
    "a schema": "CREATE SCHEMA mine",
    "an extension": "CREATE EXTENSION hstore",
    "an operator in front": "CREATE OPERATOR public.<> (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = uuid_ne)",
    "a rule": "CREATE RULE nothing AS ON INSERT TO ledger_entry DO INSTEAD NOTHING",
    "a trigger": "CREATE TRIGGER mine BEFORE INSERT ON ledger_entry FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    "no trigger": "DROP TRIGGER entry_guard ON ledger_entry",
    "a policy": "CREATE POLICY mine ON ledger_entry",
    "a column": "ALTER TABLE ledger_entry ADD COLUMN note text",
    "no constraint": "ALTER TABLE ledger_balance DROP CONSTRAINT balance_floor",
    "a child": "CREATE TEMP TABLE child () INHERITS (public.ledger_entry)",
    "an index": "DROP INDEX entry_version_once",
    "a lock for ever": "LOCK TABLE ledger_entry IN ACCESS EXCLUSIVE MODE",
    "a row locked": "SELECT 1 FROM ledger_entry FOR UPDATE",
    "a file": "SELECT pg_read_file('PG_VERSION')",
    "a program": "COPY (SELECT 1) TO PROGRAM 'cat'",
    "a trace covered": "DELETE FROM django_admin_log",
    "the migrations": "DELETE FROM django_migrations",
}  # fmt: skip


@pytest.mark.parametrize("sql", FORGERIES.values(), ids=FORGERIES)
def test_role_app_may_not(books: Books, sql: str) -> None:
    with refused(books, DENIED) as app:
        app.execute(books.written(sql))


SECRETS = (
    "SELECT secret_hash FROM clients_apikey",
    "SELECT * FROM clients_apikey",
    "SELECT password FROM auth_user",
    "SELECT session_data FROM django_session",
    "SELECT * FROM django_admin_log",
    "SELECT stavalues1 FROM pg_statistic",
    "SELECT rolpassword FROM pg_authid",
    "SELECT nextval('events_outbox_id')",
    "SELECT events_ensure_partitions(0)",
    "SELECT 1 FROM ledger_balance FOR UPDATE",
)


@pytest.mark.parametrize("sql", SECRETS)
def test_role_readonly_sees_no_secret(books: Books, sql: str) -> None:
    with refused(books, DENIED, user="readonly") as readonly:
        readonly.execute(sql)


@pytest.mark.parametrize("verb", ["INSERT INTO {0} DEFAULT VALUES", "DELETE FROM {0}", "TRUNCATE {0}"])
@pytest.mark.parametrize("table", sorted(READONLY))
def test_role_readonly_changes_nothing(db, table: str, verb: str) -> None:
    with connect("readonly") as readonly, pytest.raises(psycopg.errors.InsufficientPrivilege):
        readonly.execute(verb.format(table))


def test_role_readonly_reads_the_books(books: Books) -> None:
    with connect("readonly") as readonly:
        assert books.sums(readonly) == {"alice": [3000, 10000, 0, 0, 2], "bob": [0, 3000, 0, 0, 1]}
