-- The items of a new batch: with their outcome, or with a body while they wait.
INSERT INTO ledger_batchitem (batch_id, index, "group", body, transaction_id, error, replayed)
SELECT %(batch_id)s::uuid, index, label, body, transaction_id, error, replayed
FROM unnest(
    %(index)s::smallint[], %(group)s::text[], %(body)s::text[], %(transaction_id)s::uuid[], %(error)s::jsonb[],
    %(replayed)s::boolean[]
) AS item (index, label, body, transaction_id, error, replayed)
