-- The breaks of a reconciliation, all at once.
INSERT INTO ledger_reconciliationbreak (reconciliation_id, index, kind, line, entry, "group", repeats)
SELECT %(reconciliation_id)s, index, kind, line, entry, "group", repeats
FROM unnest(
    %(indexes)s::integer[], %(kinds)s::text[], %(lines)s::jsonb[], %(entries)s::jsonb[], %(groups)s::integer[],
    %(repeats)s::bigint[]
) AS break (index, kind, line, entry, "group", repeats)
