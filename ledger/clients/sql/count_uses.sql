-- Add what a process has counted to the rows of a day.
INSERT INTO clients_routeuse AS kept (day, client_id, version, operation, count)
SELECT %(day)s, client_id, version, operation, count
FROM unnest(
    %(client_ids)s::bigint[], %(versions)s::text[], %(operations)s::text[], %(counts)s::bigint[]
) AS counted (client_id, version, operation, count)
ON CONFLICT (day, version, client_id, operation) DO UPDATE SET count = kept.count + EXCLUDED.count
