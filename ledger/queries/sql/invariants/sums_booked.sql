-- Transactions whose sums are not what was booked of them, and what of that other transactions have taken back. What has
-- terms is booked and taken back as a whole.
SELECT t.client_id, t.id AS transaction_id, t.status, t.booked_minor, b.booked, t.reversed_minor, r.reversed
FROM ledger_transaction t
LEFT JOIN (
    SELECT j.transaction_id, sum(e.amount_minor) AS booked
    FROM ledger_journal j
    JOIN ledger_entry e ON e.journal_id = j.id
    WHERE e.layer = 'posted' AND e.amount_minor > 0
    GROUP BY j.transaction_id
) b ON b.transaction_id = t.id
LEFT JOIN (
    SELECT reverses_id, sum(amount_minor) AS reversed
    FROM ledger_transaction
    WHERE reverses_id IS NOT NULL AND status = 'completed'
    GROUP BY reverses_id
) r ON r.reverses_id = t.id
WHERE (t.booked_minor, t.reversed_minor) IS DISTINCT FROM (
    CASE WHEN t.terms IS NULL OR b.booked IS NULL THEN coalesce(b.booked, 0) ELSE t.amount_minor END,
    coalesce(r.reversed, 0)
)
