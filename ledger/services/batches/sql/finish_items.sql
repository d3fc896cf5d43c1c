-- The outcomes of items that waited.
-- The batch's id comes with every outcome: named once, it would be looked up alone, and a batch has ten thousand items.
UPDATE ledger_batchitem i
SET body = NULL,
    transaction_id = r.transaction_id,
    error = r.error,
    replayed = r.replayed
FROM unnest(
    array_fill(%(batch_id)s::uuid, ARRAY[cardinality(%(index)s::smallint[])]), %(index)s::smallint[],
    %(transaction_id)s::uuid[], %(error)s::jsonb[], %(replayed)s::boolean[]
) AS r (batch_id, index, transaction_id, error, replayed)
WHERE i.batch_id = r.batch_id AND i.index = r.index AND i.body IS NOT NULL AND i.error IS NULL
