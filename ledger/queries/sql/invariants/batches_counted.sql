-- Batches that count their items wrong, or the items that wait; and items that wait without a body.
SELECT b.client_id, b.id AS batch_id, b.item_count, b.waiting_count, count(i.index) AS items,
    count(i.index) FILTER (WHERE i.error IS NULL AND i.transaction_id IS NULL) AS waiting
FROM ledger_batch b
LEFT JOIN ledger_batchitem i ON i.batch_id = b.id
GROUP BY b.id
HAVING count(i.index) <> b.item_count
    OR count(i.index) FILTER (WHERE i.error IS NULL AND i.transaction_id IS NULL) <> b.waiting_count
    OR count(i.index) FILTER (WHERE i.error IS NULL AND i.body IS NOT NULL) <> b.waiting_count
