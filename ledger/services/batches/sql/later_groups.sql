-- The groups of the items of a batch that wait behind an index.
SELECT index, "group"
FROM ledger_batchitem
WHERE batch_id = %(batch_id)s::uuid AND index > %(after)s AND "group" IS NOT NULL AND body IS NOT NULL AND error IS NULL
ORDER BY index
