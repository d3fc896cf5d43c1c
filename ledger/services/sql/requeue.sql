-- Failed transactions go back to `processing` and into the queue, with the step in their history; those that are not
-- failed any more, or not for one of these reasons, or tried too often, stay as they are.
WITH moved AS (
    UPDATE ledger_transaction
    SET status = 'processing', error_code = NULL, version = version + 1
    WHERE id = ANY(%(ids)s::uuid[])
        AND status = 'failed'
        AND error_code = ANY(%(codes)s::text[])
        AND attempts < %(attempts_max)s
    RETURNING id, client_id, amount_minor
),
history AS (
    INSERT INTO ledger_transactionevent (
        transaction_id, from_status, to_status, amount_minor, actor, reason, request_id, at
    )
    SELECT id, 'failed', 'processing', amount_minor, %(actor)s, %(reason)s, %(request_id)s, clock_timestamp()
    FROM moved
)
INSERT INTO ledger_queuedposting (transaction_id, client_id, next_attempt_at, actor, request_id, trace)
SELECT id, client_id, clock_timestamp(), %(actor)s, %(request_id)s, %(trace)s
FROM moved
ORDER BY id
