-- Give the committed events that have none their positions, in the order of their ids, and their sequences; how many they
-- are, the last of their ids, and the oldest transaction that may still be writing as this statement sees it.
WITH fresh AS MATERIALIZED (
    SELECT o.id, o.occurred_at, o.client_id, o.type, o.key
    FROM events_outboxevent o
    WHERE o.id > %(low_id)s
        AND NOT EXISTS (SELECT FROM events_position p WHERE p.outbox_id = o.id AND p.outbox_id > %(low_id)s)
    ORDER BY o.id
    LIMIT %(size)s
),
counted AS MATERIALIZED (
    SELECT *,
        row_number() OVER (ORDER BY id) AS place,
        row_number() OVER (PARTITION BY key ORDER BY id) AS place_of_key,
        count(*) OVER (PARTITION BY key) AS count_of_key
    FROM fresh
),
keys AS (
    INSERT INTO events_key AS k (key, last_sequence)
    SELECT key, count(*)
    FROM fresh
    GROUP BY key
    ON CONFLICT (key) DO UPDATE SET last_sequence = k.last_sequence + excluded.last_sequence
    RETURNING key, last_sequence
),
numbered AS (
    INSERT INTO events_position (position, outbox_id, occurred_at, client_id, type, key, sequence)
    SELECT %(last_position)s + c.place, c.id, c.occurred_at, c.client_id, c.type, c.key,
        k.last_sequence - c.count_of_key + c.place_of_key
    FROM counted c
    JOIN keys k ON k.key = c.key
    RETURNING 1
)
SELECT (SELECT count(*) FROM numbered), (SELECT max(id) FROM fresh), pg_snapshot_xmin(pg_current_snapshot())::text
