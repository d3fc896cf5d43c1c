-- The last entry of an account that was booked at or before a moment. posted_at grows with account_version, so the
-- version is found by halving: some twenty look-ups of the unique index for a million entries, and no index by time.
WITH RECURSIVE search (low, high) AS (
    SELECT 0::bigint, (SELECT version FROM ledger_balance WHERE account_id = %(account_id)s)
    UNION ALL
    SELECT
        CASE WHEN middle.is_before THEN middle.version ELSE search.low END,
        CASE WHEN middle.is_before THEN search.high ELSE middle.version - 1 END
    FROM search
    CROSS JOIN LATERAL (
        SELECT e.account_version AS version, e.posted_at <= %(at)s AS is_before
        FROM ledger_entry e
        WHERE e.account_id = %(account_id)s AND e.account_version = (search.low + search.high + 1) / 2
    ) middle
    WHERE search.low < search.high
)
SELECT e.account_version, e.posted_after, e.pending_after
FROM search
JOIN ledger_entry e ON e.account_id = %(account_id)s AND e.account_version = search.low
WHERE search.low = search.high
