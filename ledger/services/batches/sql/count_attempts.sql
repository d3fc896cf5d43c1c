-- A try of items that ended without an outcome. One that is given up has its error and keeps its body, to be tried again
-- by a retry; the others wait. (The batch's id comes with every item for the reason that finish_items.sql names.)
UPDATE ledger_batchitem i
SET attempts = i.attempts + 1, error = r.error
FROM unnest(
    array_fill(%(batch_id)s::uuid, ARRAY[cardinality(%(index)s::smallint[])]), %(index)s::smallint[], %(error)s::jsonb[]
) AS r (batch_id, index, error)
WHERE i.batch_id = r.batch_id AND i.index = r.index AND i.body IS NOT NULL AND i.error IS NULL
