-- Constraints that the books rest on and that are missing, not validated or not enforced.
SELECT NULL::bigint AS client_id, x.on_table, x.name AS constraint
FROM (
    VALUES
        ('ledger_account', 'account_path_once'),
        ('ledger_balance', 'balance_sign_known'),
        ('ledger_balance', 'balance_sums_not_negative'),
        ('ledger_balance', 'balance_floor'),
        ('ledger_balance', 'balance_ceiling'),
        ('ledger_entry', 'entry_version_once'),
        ('ledger_entry', 'entry_not_zero'),
        ('ledger_transaction', 'transaction_key_once'),
        ('ledger_transaction', 'transaction_amount_positive'),
        ('ledger_transaction', 'transaction_two_accounts'),
        ('ledger_transaction', 'transaction_completed_once_booked'),
        ('ledger_transaction', 'transaction_sums_are_numbers'),
        ('ledger_transaction', 'transaction_booked_within'),
        ('ledger_transaction', 'transaction_reversed_within'),
        ('ledger_transaction', 'transaction_reversed_iff_all'),
        ('ledger_transaction', 'transaction_booked_as_status'),
        ('ledger_transaction', 'transaction_error_iff_failed')
) AS x (on_table, name)
LEFT JOIN pg_constraint c ON c.conrelid = to_regclass('public.' || x.on_table) AND c.conname = x.name
WHERE c.oid IS NULL OR NOT c.convalidated
