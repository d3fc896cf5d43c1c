-- Reversals of what is missing, another client's or itself a reversal, or that do not lead back between its accounts.
SELECT t.client_id, t.id AS transaction_id, t.reverses_id, o.client_id AS client_of_original
FROM ledger_transaction t
LEFT JOIN ledger_transaction o ON o.id = t.reverses_id
WHERE t.reverses_id IS NOT NULL
    AND (o.client_id, o.currency_id, o.debit_account_id, o.credit_account_id, o.reverses_id)
        IS DISTINCT FROM (t.client_id, t.currency_id, t.credit_account_id, t.debit_account_id, NULL::uuid)
