-- The next items of a batch that wait, in their order, or those that are named.
SELECT index, "group", body
FROM ledger_batchitem
WHERE batch_id = %(batch_id)s::uuid AND body IS NOT NULL AND error IS NULL
    AND (%(only)s::smallint[] IS NULL OR index = ANY (%(only)s::smallint[]))
ORDER BY index
LIMIT %(size)s
