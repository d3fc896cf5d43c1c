-- How many offences a check finds by client, each with a sample. The check is put in at the braces: offending rows with
-- their client_id, NULL for what is nobody's; those count whichever client is asked for.
WITH offence AS (
{check}
),
chosen AS (
    SELECT o.*, row_number() OVER (PARTITION BY o.client_id) AS place
    FROM offence o
    WHERE %(client_id)s::bigint IS NULL OR o.client_id IS NULL OR o.client_id = %(client_id)s
)
SELECT
    c.name, count(*),
    jsonb_agg(to_jsonb(o) - 'client_id' - 'place') FILTER (WHERE place <= %(sample_size)s)
FROM chosen o
LEFT JOIN clients_client c ON c.id = o.client_id
GROUP BY c.name
ORDER BY c.name
