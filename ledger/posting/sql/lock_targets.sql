-- The transactions that a round moves, locked in one order, with what moves of them.
SELECT
    id, status, version, amount_minor, booked_minor, reversed_minor, expires_at, completed_at, reverses_id IS NOT NULL
FROM ledger_transaction
WHERE id = ANY(%(ids)s::uuid[])
ORDER BY id
FOR NO KEY UPDATE
