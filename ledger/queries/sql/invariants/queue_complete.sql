-- Transactions that are `processing` and wait nowhere, rows of the queue whose transaction is not, or is another
-- client's.
SELECT
    coalesce(t.client_id, q.client_id) AS client_id, coalesce(t.id, q.transaction_id) AS transaction_id, t.status,
    q.next_attempt_at
FROM ledger_transaction t
FULL JOIN ledger_queuedposting q ON q.transaction_id = t.id
WHERE (t.status = 'processing') IS DISTINCT FROM (q.transaction_id IS NOT NULL)
    OR q.client_id <> t.client_id
