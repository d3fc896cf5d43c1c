-- Intents that are accepted: as `processing`, with the first step of their history and their place in the queue. They
-- are due at once in the order of their ids, or at the time they name. An id's time is the process's: where its clock
-- is ahead of the server's, it must not make its transaction wait.
WITH accepted AS (
    SELECT *
    FROM unnest(
        %(id)s::uuid[], %(client_id)s::bigint[], %(idempotency_key)s::text[], %(request_hash)s::bytea[],
        %(receipt_code)s::text[], %(type)s::text[], %(status)s::text[], %(amount_minor)s::numeric[],
        %(currency_id)s::text[], %(debit_account_id)s::bigint[], %(credit_account_id)s::bigint[], %(terms)s::jsonb[],
        %(user_id)s::text[], %(peer_user_id)s::text[], %(reference)s::text[], %(description)s::text[],
        %(metadata)s::jsonb[], %(effective_at)s::timestamptz[], %(execute_at)s::timestamptz[],
        %(expires_at)s::timestamptz[], %(created_at)s::timestamptz[], %(actor)s::text[], %(request_id)s::text[],
        %(trace)s::text[]
    ) AS accepted (
        id, client_id, idempotency_key, request_hash, receipt_code, type, status, amount_minor, currency_id,
        debit_account_id, credit_account_id, terms, user_id, peer_user_id, reference, description, metadata,
        effective_at, execute_at, expires_at, created_at, actor, request_id, trace
    )
),
stored AS (
    INSERT INTO ledger_transaction (
        id, client_id, idempotency_key, request_hash, receipt_code, type, status, amount_minor, currency_id,
        debit_account_id, credit_account_id, terms, user_id, peer_user_id, reference, description, metadata,
        effective_at, execute_at, expires_at, created_at
    )
    SELECT
        id, client_id, idempotency_key, request_hash, receipt_code, type, status, amount_minor, currency_id,
        debit_account_id, credit_account_id, terms, user_id, peer_user_id, reference, description, metadata,
        effective_at, execute_at, expires_at, created_at
    FROM accepted
),
told AS (
    INSERT INTO ledger_transactionevent (transaction_id, to_status, amount_minor, actor, reason, request_id, at)
    SELECT id, status, amount_minor, actor, '', request_id, %(accepted_at)s::timestamptz
    FROM accepted
)
INSERT INTO ledger_queuedposting (transaction_id, client_id, next_attempt_at, actor, request_id, trace)
SELECT id, client_id, coalesce(execute_at, least(created_at, clock_timestamp())), actor, request_id, trace
FROM accepted
