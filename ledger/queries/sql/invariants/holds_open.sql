-- What is pending without its open hold, and open holds of what is not pending or ends at another time.
SELECT t.client_id, coalesce(t.id, h.transaction_id) AS transaction_id, t.status, t.expires_at, h.expires_at AS open_until
FROM (SELECT * FROM ledger_transaction WHERE status = 'pending') p
FULL JOIN ledger_openhold h ON h.transaction_id = p.id
LEFT JOIN ledger_transaction t ON t.id = coalesce(p.id, h.transaction_id)
WHERE p.id IS NULL OR h.expires_at IS DISTINCT FROM p.expires_at
