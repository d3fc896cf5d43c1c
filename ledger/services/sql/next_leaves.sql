-- The journals that events of these positions tell of and that are in no block, in the order of the events. An event
-- names its transaction: what else is booked of that and not sealed comes with it, in the order of its ids. Whoever
-- wrote an event may have written no id.
WITH told AS MATERIALIZED (
    SELECT
        CASE
            WHEN o.data ~ '^\{"id":"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"'
            THEN substr(o.data, 8, 36)::uuid
        END AS transaction_id,
        min(p.position) AS position
    FROM events_position p
    JOIN events_outboxevent o ON o.occurred_at = p.occurred_at AND o.id = p.outbox_id
    WHERE p.position > %(after)s
        AND p.position <= %(until)s
        AND starts_with(p.type, 'transaction.')
    GROUP BY 1
)
SELECT leaf.journal_id, leaf.hash
FROM told
JOIN ledger_transaction t ON t.id = told.transaction_id
JOIN ({leaves}) leaf ON leaf.external_ref = t.receipt_code AND leaf.transaction_id = t.id
WHERE NOT EXISTS (SELECT FROM ledger_leaf l WHERE l.journal_id = leaf.journal_id)
ORDER BY told.position, leaf.journal_id
