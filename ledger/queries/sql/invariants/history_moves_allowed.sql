-- History events of no transaction, or that do not go on from the event before, or make a move that is not allowed.
-- A history begins with `processing` or with what `processing` may become.
SELECT t.client_id, h.transaction_id, h.from_status, h.to_status, h.status_before
FROM (
    SELECT
        transaction_id, from_status, to_status,
        lag(to_status) OVER (PARTITION BY transaction_id ORDER BY id) AS status_before
    FROM ledger_transactionevent
) h
LEFT JOIN ledger_transaction t ON t.id = h.transaction_id
WHERE t.id IS NULL
    OR h.from_status IS DISTINCT FROM h.status_before
    OR coalesce(h.from_status, 'processing') || '>' || h.to_status <> ALL (%(moves)s::text[])
        AND (h.from_status IS NOT NULL OR h.to_status <> 'processing')
