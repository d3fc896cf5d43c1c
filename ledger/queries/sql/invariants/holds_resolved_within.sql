-- Holds released beyond their amount by captures, voids and expiries, or captures that posted more than was held.
SELECT t.client_id, x.transaction_id, x.account_id, x.held, x.released, x.captured
FROM (
    SELECT
        j.transaction_id, e.account_id,
        coalesce(sum(e.amount_minor) FILTER (WHERE j.kind = 'hold'), 0) AS held,
        coalesce(-sum(e.amount_minor) FILTER (WHERE j.kind <> 'hold' AND e.layer = 'held'), 0) AS released,
        coalesce(sum(e.amount_minor) FILTER (WHERE e.layer = 'posted'), 0) AS captured
    FROM ledger_journal j
    JOIN ledger_entry e ON e.journal_id = j.id
    WHERE j.kind IN ('hold', 'capture', 'void', 'expire')
    GROUP BY j.transaction_id, e.account_id
) x
LEFT JOIN ledger_transaction t ON t.id = x.transaction_id
WHERE x.released NOT BETWEEN least(x.held, 0) AND greatest(x.held, 0)
    OR x.captured NOT BETWEEN least(x.held, 0) AND greatest(x.held, 0)
