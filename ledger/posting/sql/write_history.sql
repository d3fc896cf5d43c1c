-- One move for each judged intent: the outcome, with the moment the engine took it up, which is before the locks.
INSERT INTO ledger_transactionevent (
    transaction_id, from_status, to_status, amount_minor, actor, reason, request_id, executing_at, at
)
SELECT
    transaction_id, from_status, to_status, amount_minor, actor, reason, request_id,
    transaction_timestamp(), %(posted_at)s::timestamptz
FROM unnest(
    %(transaction_id)s::uuid[], %(from_status)s::text[], %(to_status)s::text[], %(amount_minor)s::numeric[],
    %(actor)s::text[], %(reason)s::text[], %(request_id)s::text[]
) AS moved (transaction_id, from_status, to_status, amount_minor, actor, reason, request_id)
