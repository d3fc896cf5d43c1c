-- The oldest position that is kept, and the last of a client's next positions.
SELECT
    (SELECT min(position) FROM events_position),
    (
        SELECT max(position)
        FROM (
            SELECT position
            FROM events_position
            WHERE client_id = %(client_id)s AND position > %(after)s
            ORDER BY position
            LIMIT %(window)s
        ) next
    )
