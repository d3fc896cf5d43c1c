-- Reversals of what is missing, another client's or itself a reversal, or that do not lead back between its accounts; of
-- what has terms each leg is led back.
SELECT t.client_id, t.id AS transaction_id, t.reverses_id, o.client_id AS client_of_original
FROM ledger_transaction t
LEFT JOIN ledger_transaction o ON o.id = t.reverses_id
WHERE t.reverses_id IS NOT NULL
    AND (
        (o.client_id, o.currency_id, o.reverses_id) IS DISTINCT FROM (t.client_id, t.currency_id, NULL::uuid)
        OR CASE
            WHEN o.terms IS NULL
                THEN (o.debit_account_id, o.credit_account_id, NULL::jsonb)
                    IS DISTINCT FROM (t.credit_account_id, t.debit_account_id, t.terms)
            ELSE t.amount_minor <> o.amount_minor OR (
                SELECT array_agg((leg ->> 0, (leg ->> 1)::numeric) ORDER BY leg ->> 0, (leg ->> 1)::numeric)
                FROM jsonb_array_elements(t.terms -> 'legs') AS leg
            ) IS DISTINCT FROM (
                SELECT array_agg((leg ->> 0, -(leg ->> 1)::numeric) ORDER BY leg ->> 0, -(leg ->> 1)::numeric)
                FROM jsonb_array_elements(o.terms -> 'legs') AS leg
            )
        END
    )
