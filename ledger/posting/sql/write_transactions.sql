-- The judged intents of a round that are new.
INSERT INTO ledger_transaction (
    id, client_id, idempotency_key, request_hash, receipt_code, type, status, amount_minor, currency_id,
    debit_account_id, credit_account_id, terms, user_id, peer_user_id, reference, description, metadata, error_code,
    effective_at, execute_at, expires_at, reverses_id, batch_id, batch_index, created_at, completed_at, booked_minor
)
SELECT
    id, client_id, idempotency_key, request_hash, receipt_code, type, status, amount_minor, currency_id,
    debit_account_id, credit_account_id, terms, user_id, peer_user_id, reference, description, metadata, error_code,
    effective_at, execute_at, expires_at, reverses_id, batch_id, batch_index, created_at,
    CASE WHEN status = 'completed' THEN %(posted_at)s::timestamptz END,
    CASE WHEN status = 'completed' THEN amount_minor ELSE 0 END
FROM unnest(
    %(id)s::uuid[], %(client_id)s::bigint[], %(idempotency_key)s::text[], %(request_hash)s::bytea[],
    %(receipt_code)s::text[], %(type)s::text[], %(status)s::text[], %(amount_minor)s::numeric[],
    %(currency_id)s::text[], %(debit_account_id)s::bigint[], %(credit_account_id)s::bigint[], %(terms)s::jsonb[],
    %(user_id)s::text[], %(peer_user_id)s::text[], %(reference)s::text[], %(description)s::text[],
    %(metadata)s::jsonb[], %(error_code)s::text[], %(effective_at)s::timestamptz[], %(execute_at)s::timestamptz[],
    %(expires_at)s::timestamptz[], %(reverses_id)s::uuid[], %(batch_id)s::uuid[], %(batch_index)s::smallint[],
    %(created_at)s::timestamptz[]
) AS judged (
    id, client_id, idempotency_key, request_hash, receipt_code, type, status, amount_minor, currency_id,
    debit_account_id, credit_account_id, terms, user_id, peer_user_id, reference, description, metadata, error_code,
    effective_at, execute_at, expires_at, reverses_id, batch_id, batch_index, created_at
)
