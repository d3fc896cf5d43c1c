-- The outcomes of intents that were accepted before. That they are still `processing` is for the guard to see: named
-- here, it would lead PostgreSQL through the whole table, which it believes to hold one such row.
UPDATE ledger_transaction t
SET status = o.status,
    error_code = o.error_code,
    attempts = o.attempts,
    version = t.version + 1,
    booked_minor = CASE WHEN o.status = 'completed' THEN t.amount_minor ELSE 0 END,
    completed_at = CASE WHEN o.status = 'completed' THEN %(posted_at)s::timestamptz END
FROM unnest(%(id)s::uuid[], %(status)s::text[], %(error_code)s::text[], %(attempts)s::smallint[])
    AS o (id, status, error_code, attempts)
WHERE t.id = o.id
