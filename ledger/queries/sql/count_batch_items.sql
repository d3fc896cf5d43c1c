-- Where the items of a batch stand now.
SELECT
    count(*) FILTER (WHERE i.error IS NULL AND i.transaction_id IS NULL),
    count(*) FILTER (WHERE t.status = 'processing'),
    count(*) FILTER (WHERE t.status NOT IN ('processing', 'failed')),
    count(*) FILTER (WHERE i.error IS NOT NULL OR t.status = 'failed')
FROM ledger_batchitem i
LEFT JOIN ledger_transaction t ON t.id = i.transaction_id
WHERE i.batch_id = %(batch_id)s::uuid
