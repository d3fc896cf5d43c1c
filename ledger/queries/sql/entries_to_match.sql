-- The booked lines of an account that a statement may show: those that took effect in a span of time, and whenever they
-- did those that the statement names, by receipt, by reference or by the key of its import.
SELECT
    e.account_version, (j.effective_at AT TIME ZONE 'UTC')::date, e.amount_minor, j.transaction_id, j.external_ref,
    t.reference, t.idempotency_key
FROM ledger_entry e
JOIN ledger_journal j ON j.id = e.journal_id
JOIN ledger_transaction t ON t.id = j.transaction_id
WHERE e.account_id = %(account_id)s
    AND e.layer = 'posted'
    AND (
        j.effective_at >= %(since)s AND j.effective_at < %(until)s
        OR j.external_ref = ANY (%(receipts)s::text[])
        OR t.reference = ANY (%(references)s::text[])
        OR t.idempotency_key = ANY (%(keys)s::text[])
    )
ORDER BY e.account_version
LIMIT %(limit)s
