-- Until where events are not kept any more, and the last of a client's next positions.
SELECT
    (SELECT dropped_until FROM events_numbering),
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
