-- Transactions whose terms say another debit, credit or amount than they do themselves, or whose legs have no accounts of
-- their client, or do not sum to zero per currency.
SELECT t.client_id, t.id AS transaction_id, t.debit_account_id, t.credit_account_id, t.amount_minor, t.terms
FROM ledger_transaction t
WHERE t.terms IS NOT NULL
    AND (
        coalesce((t.terms ->> 'by_legs')::boolean, false) <> (t.debit_account_id IS NULL)
        OR t.debit_account_id IS NOT NULL AND (
            (t.terms -> 'legs' -> 0 ->> 0)::bigint, (t.terms -> 'legs' -> 0 ->> 1)::numeric,
            (t.terms -> 'legs' -> 1 ->> 0)::bigint
        ) IS DISTINCT FROM (t.debit_account_id, t.amount_minor, t.credit_account_id)
        OR EXISTS (
            SELECT
            FROM jsonb_array_elements(t.terms -> 'legs') AS leg
            LEFT JOIN ledger_account a ON a.id = (leg ->> 0)::bigint AND a.client_id = t.client_id
            GROUP BY a.currency_id
            HAVING a.currency_id IS NULL OR sum((leg ->> 1)::numeric) <> 0
        )
    )
