-- Outcomes without exactly one outbox row for each time the history records them, and outbox rows of no such outcome.
-- The rows are of the transaction's client. Their data is text that begins with the id: one that is no JSON is an
-- offence here, not an error. What was made before the oldest outbox row that is kept is left out: its id tells when.
WITH kept AS (
    SELECT CASE
        WHEN kept_since = '-infinity' THEN ''
        ELSE regexp_replace(lpad(to_hex((extract(epoch FROM kept_since) * 1000)::bigint), 12, '0'), '^.{8}', '\&-')
    END AS since
    FROM events_numbering
)
SELECT coalesce(m.client_id, o.client_id) AS client_id, coalesce(m.id, o.id) AS transaction_id,
    coalesce(m.type, o.type) AS type, coalesce(m.moves, 0) AS moves, coalesce(o.events, 0) AS events
FROM (
    SELECT client_id, id, type, count(*) AS moves
    FROM (
        SELECT t.client_id, t.id::text AS id,
            'transaction.' || CASE
                WHEN h.from_status = 'pending' AND h.to_status = 'pending' THEN 'captured'
                ELSE h.to_status
            END AS type
        FROM ledger_transactionevent h
        JOIN ledger_transaction t ON t.id = h.transaction_id
        WHERE h.to_status <> 'processing' AND t.id::text COLLATE "C" >= (SELECT since FROM kept)
    ) moved
    GROUP BY client_id, id, type
) m
FULL JOIN (
    SELECT client_id, id, type, count(*) AS events
    FROM (
        SELECT client_id, type, CASE WHEN starts_with(data, '{"id":"') THEN substr(data, 8, 36) END AS id
        FROM events_outboxevent
        WHERE type = ANY (%(outcomes)s::text[])
    ) e
    GROUP BY client_id, id, type
) o ON o.id = m.id AND o.type = m.type AND o.client_id = m.client_id
WHERE coalesce(m.id, o.id, 'none') COLLATE "C" >= (SELECT since FROM kept)
    AND m.moves IS DISTINCT FROM o.events
