-- Which of these idempotency keys are taken: by which transaction, or (id NULL) by another operation.
SELECT t.client_id, t.idempotency_key, t.request_hash, t.id
FROM unnest(%(clients)s::bigint[], %(keys)s::text[]) AS asked (client_id, key)
JOIN ledger_transaction t ON t.client_id = asked.client_id AND t.idempotency_key = asked.key
UNION ALL
SELECT k.client_id, k.key, k.request_hash, NULL
FROM unnest(%(clients)s::bigint[], %(keys)s::text[]) AS asked (client_id, key)
JOIN clients_idempotencykey k ON k.client_id = asked.client_id AND k.key = asked.key
