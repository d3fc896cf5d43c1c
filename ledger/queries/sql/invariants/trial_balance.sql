-- Clients whose books do not sum to zero in a currency and layer.
SELECT a.client_id, e.currency_id AS currency, e.layer, sum(e.sum_minor) AS sum_minor
FROM (
    SELECT account_id, currency_id, layer, sum(amount_minor) AS sum_minor
    FROM ledger_entry
    GROUP BY account_id, currency_id, layer
) e
LEFT JOIN ledger_account a ON a.id = e.account_id
GROUP BY a.client_id, e.currency_id, e.layer
HAVING sum(e.sum_minor) <> 0
