-- Journals whose lines do not sum to zero in a currency and layer.
SELECT j.client_id, e.journal_id, e.currency_id AS currency, e.layer, e.sum_minor
FROM (
    SELECT journal_id, currency_id, layer, sum(amount_minor) AS sum_minor
    FROM ledger_entry
    GROUP BY journal_id, currency_id, layer
    HAVING sum(amount_minor) <> 0
) e
LEFT JOIN ledger_journal j ON j.id = e.journal_id
