-- Part of other queries: for each row of `asked (account_id, at, newest)` the account's last version that was booked at
-- or before the moment, 0 before the first, as `known (account_id, at, version)`. posted_at grows with account_version,
-- so it is found by halving: some twenty look-ups of the unique index for a million entries, and no index by time.
-- (OFFSET keeps the look-up a look-up: joined, it might read the whole table for many accounts.)
search (account_id, at, low, high) AS (
    SELECT account_id, at, 0::bigint, newest FROM asked
    UNION ALL
    SELECT search.account_id, search.at,
        CASE WHEN middle.is_before THEN middle.version ELSE search.low END,
        CASE WHEN middle.is_before THEN search.high ELSE middle.version - 1 END
    FROM search
    CROSS JOIN LATERAL (
        SELECT e.account_version AS version, e.posted_at <= search.at AS is_before
        FROM ledger_entry e
        WHERE e.account_id = search.account_id AND e.account_version = (search.low + search.high + 1) / 2
        OFFSET 0
    ) middle
    WHERE search.low < search.high
),
known AS (
    SELECT account_id, at, low AS version FROM search WHERE low = high
)
