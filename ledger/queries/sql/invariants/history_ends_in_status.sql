-- Transactions whose last history event is not their status.
SELECT t.client_id, t.id AS transaction_id, t.status, h.to_status AS last_event
FROM ledger_transaction t
LEFT JOIN (
    SELECT DISTINCT ON (transaction_id) transaction_id, to_status
    FROM ledger_transactionevent
    ORDER BY transaction_id, id DESC
) h ON h.transaction_id = t.id
WHERE h.to_status IS DISTINCT FROM t.status
