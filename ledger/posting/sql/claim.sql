-- The next rows of a lane that are due, in the order in which they were accepted.
SELECT
    t.id, t.client_id, t.type, t.amount_minor, t.debit_account_id, t.credit_account_id, t.terms::text, t.reference,
    t.description, t.metadata::text, t.effective_at, t.execute_at, t.expires_at, t.batch_id, t.batch_index, t.version,
    t.attempts, t.status, q.actor, q.request_id, q.trace
FROM ledger_queuedposting q
JOIN ledger_transaction t ON t.id = q.transaction_id
WHERE q.next_attempt_at <= clock_timestamp()
    AND q.client_id %% %(lanes)s = %(lane)s
    AND (%(only)s::uuid[] IS NULL OR q.transaction_id = ANY(%(only)s::uuid[]))
ORDER BY q.next_attempt_at, q.transaction_id
LIMIT %(size)s
