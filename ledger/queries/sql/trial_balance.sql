-- What a client's accounts of each currency and kind stood at, as booked at a moment: debit balances, credit balances.
-- One statement, so that bookings that are made meanwhile are seen whole or not at all. An account that was not booked on
-- since stands there now; the versions of the others are found together, a step of the halving for all of them at once.
WITH RECURSIVE
account AS MATERIALIZED (
    SELECT a.id, a.currency_id, a.kind, b.version, b.posted_debits - b.posted_credits AS posted,
        coalesce(b.last_posted_at > %(at)s::timestamptz, FALSE) AS is_later
    FROM ledger_account a
    JOIN ledger_balance b ON b.account_id = a.id
    WHERE a.client_id = %(client_id)s
),
asked AS (
    SELECT id AS account_id, %(at)s::timestamptz AS at, version AS newest FROM account WHERE is_later
),
{versions_at},
standing AS (
    SELECT currency_id, kind, posted FROM account WHERE NOT is_later
    UNION ALL
    SELECT a.currency_id, a.kind, coalesce(e.posted_after, 0)
    FROM known k
    JOIN account a ON a.id = k.account_id
    LEFT JOIN ledger_entry e ON e.account_id = k.account_id AND e.account_version = k.version
)
SELECT s.currency_id, c.exponent, s.kind, sum(greatest(s.posted, 0)), sum(greatest(-s.posted, 0))
FROM standing s
JOIN ledger_currency c ON c.code = s.currency_id
GROUP BY s.currency_id, c.exponent, s.kind
ORDER BY s.currency_id
