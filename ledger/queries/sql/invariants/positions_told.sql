-- Events without a position that nobody looks for any more, positions of no such event or out of their key's order, and
-- positions or sequences that are missing or given twice. Of what is not kept any more, some are missing by right.
SELECT client_id, outbox_id, position, sequence, what
FROM (
    SELECT o.client_id, o.id AS outbox_id, NULL::bigint AS position, NULL::bigint AS sequence, 'lost' AS what
    FROM events_outboxevent o
    WHERE o.id <= (SELECT low_id FROM events_numbering)
        AND NOT EXISTS (SELECT FROM events_position p WHERE p.outbox_id = o.id)
    UNION ALL
    SELECT p.client_id, p.outbox_id, p.position, p.sequence, 'of no event'
    FROM events_position p
    LEFT JOIN events_outboxevent o ON o.occurred_at = p.occurred_at AND o.id = p.outbox_id
    WHERE (o.client_id, o.type, o.key) IS DISTINCT FROM (p.client_id, p.type, p.key)
    UNION ALL
    SELECT client_id, outbox_id, position, sequence, 'out of order'
    FROM (
        SELECT client_id, outbox_id, position, sequence,
            lag(position) OVER (ORDER BY position) AS position_before,
            lag(sequence) OVER (PARTITION BY key ORDER BY position) AS sequence_before,
            lag(outbox_id) OVER (PARTITION BY key ORDER BY position) AS id_before
        FROM events_position
        WHERE position > (SELECT dropped_until FROM events_numbering)
    ) p
    WHERE position <> position_before + 1 OR sequence <> sequence_before + 1 OR outbox_id <= id_before
) found
