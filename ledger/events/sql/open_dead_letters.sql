-- How many dead letters of each consumer are open, counted no further than 10,001. It steps from consumer to consumer
-- by the index, whatever has been resolved since.
WITH RECURSIVE consumers AS (
    (SELECT consumer FROM events_deadletter WHERE status = 'open' ORDER BY consumer LIMIT 1)
    UNION ALL
    SELECT (
        SELECT d.consumer
        FROM events_deadletter d
        WHERE d.status = 'open' AND d.consumer > c.consumer
        ORDER BY d.consumer
        LIMIT 1
    )
    FROM consumers c
    WHERE c.consumer IS NOT NULL
)
SELECT c.consumer, (
    SELECT count(*)
    FROM (SELECT FROM events_deadletter d WHERE d.status = 'open' AND d.consumer = c.consumer LIMIT 10001) counted
)
FROM consumers c
WHERE c.consumer IS NOT NULL
