-- A follower's next events in its lanes, and whether each waits behind an earlier one of its key.
SELECT p.position, o.event_id, o.client_id, c.public_id, p.type, p.key, p.sequence, o.occurred_at, o.data, o.trace,
    EXISTS (SELECT FROM events_parked k WHERE k.follower = %(follower)s AND k.key = p.key)
FROM events_position p
JOIN unnest(%(lanes)s::smallint[], %(positions)s::bigint[]) AS cursor (lane, position)
    ON cursor.lane = events_lane(p.key) AND p.position > cursor.position
JOIN events_outboxevent o ON o.occurred_at = p.occurred_at AND o.id = p.outbox_id
LEFT JOIN clients_client c ON c.id = o.client_id
WHERE p.position > %(low)s AND p.position <= %(high)s
ORDER BY p.position
