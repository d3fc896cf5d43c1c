-- A client's events between two positions, with what they tell.
SELECT o.event_id, p.type, p.position, p.key, p.sequence, o.occurred_at, o.data
FROM events_position p
JOIN events_outboxevent o ON o.occurred_at = p.occurred_at AND o.id = p.outbox_id
WHERE p.client_id = %(client_id)s
    AND p.position > %(after)s
    AND p.position <= %(until)s
    AND (%(types)s::text[] IS NULL OR p.type = ANY(%(types)s::text[]))
ORDER BY p.position
LIMIT %(limit)s
