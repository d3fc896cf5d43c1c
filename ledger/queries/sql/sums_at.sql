-- The last entry of an account that was booked at or before a moment.
WITH RECURSIVE
asked AS (
    SELECT account_id, %(at)s::timestamptz AS at, version AS newest
    FROM ledger_balance
    WHERE account_id = %(account_id)s
),
{versions_at}
SELECT e.account_version, e.posted_after, e.pending_after, e.pending_debits_after
FROM known k
JOIN ledger_entry e ON e.account_id = k.account_id AND e.account_version = k.version
