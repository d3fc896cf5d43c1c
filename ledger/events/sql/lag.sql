-- How far each follower is behind: by the lane that is furthest, and by what is parked.
SELECT c.follower, n.last_position - c.position, coalesce(extract(epoch FROM clock_timestamp() - oldest.at), 0)::float8,
    coalesce(parked.count, 0)
FROM (
    SELECT follower, min(position) AS position
    FROM events_cursor
    GROUP BY follower
) c
CROSS JOIN events_numbering n
LEFT JOIN (
    SELECT follower, count(*) AS count, min(position) AS position
    FROM events_parked
    GROUP BY follower
) parked ON parked.follower = c.follower
LEFT JOIN LATERAL (
    SELECT min(p.occurred_at) AS at
    FROM events_position p
    WHERE p.position IN (c.position + 1, parked.position)
) oldest ON TRUE
ORDER BY c.follower
