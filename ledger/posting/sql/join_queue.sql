-- Intents that wait for their outcome: due at once in the order of their ids, or at the time they name. An id's time
-- is the process's: where its clock is ahead of the server's, it must not make its transaction wait.
INSERT INTO ledger_queuedposting (transaction_id, client_id, next_attempt_at, actor, request_id, trace)
SELECT
    transaction_id, client_id, coalesce(execute_at, least(created_at, clock_timestamp())), actor, request_id, trace
FROM unnest(
    %(id)s::uuid[], %(client_id)s::bigint[], %(execute_at)s::timestamptz[], %(created_at)s::timestamptz[],
    %(actor)s::text[], %(request_id)s::text[], %(trace)s::text[]
) AS accepted (transaction_id, client_id, execute_at, created_at, actor, request_id, trace)
