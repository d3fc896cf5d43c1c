-- Journals in no block although the sealer has come past every event of their transaction. Of a transaction that has an
-- event beyond, the next block takes what is not sealed.
WITH waiting AS MATERIALIZED (
    SELECT substr(o.data, 8, 36) AS transaction_id
    FROM events_outboxevent o
    LEFT JOIN events_position p ON p.occurred_at = o.occurred_at AND p.outbox_id = o.id
    WHERE starts_with(o.type, 'transaction.')
        AND (p.position IS NULL OR p.position > (SELECT last_position FROM ledger_sealing))
)
SELECT j.client_id, j.id AS journal_id, j.transaction_id
FROM ledger_journal j
WHERE NOT EXISTS (SELECT FROM ledger_leaf l WHERE l.journal_id = j.id)
    AND NOT EXISTS (SELECT FROM waiting w WHERE w.transaction_id = j.transaction_id::text)
