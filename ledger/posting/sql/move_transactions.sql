-- Moves of transactions that stand and are locked: captures, ends of holds, and what reversals take back. No row may be
-- named twice; the guard refuses a version that does not follow.
UPDATE ledger_transaction t
SET status = m.status,
    version = m.version,
    booked_minor = m.booked_minor,
    reversed_minor = m.reversed_minor,
    completed_at = m.completed_at
FROM unnest(
    %(id)s::uuid[], %(status)s::text[], %(version)s::integer[], %(booked_minor)s::numeric[],
    %(reversed_minor)s::numeric[], %(completed_at)s::timestamptz[]
) AS m (id, status, version, booked_minor, reversed_minor, completed_at)
WHERE t.id = m.id
