-- Write dead letters; a message that has an open one, since it was delivered again, keeps that one.
INSERT INTO events_deadletter AS d (
    id, created_at, client_id, consumer, topic, partition, "offset", key, headers, body, event_id, error_code, error,
    attempts, trace
)
SELECT *
FROM unnest(
    %(id)s::uuid[], %(created_at)s::timestamptz[], %(client_id)s::bigint[], %(consumer)s::text[], %(topic)s::text[],
    %(partition)s::integer[], %(offset)s::text[], %(key)s::text[], %(headers)s::text[], %(body)s::bytea[],
    %(event_id)s::text[], %(error_code)s::text[], %(error)s::text[], %(attempts)s::integer[], %(trace)s::text[]
) AS letter
ON CONFLICT (consumer, topic, partition, "offset", event_id) WHERE status = 'open'
DO UPDATE SET
    attempts = d.attempts + excluded.attempts,
    error_code = excluded.error_code,
    error = excluded.error,
    failed_at = excluded.failed_at
RETURNING consumer, topic, partition, "offset", event_id, id
