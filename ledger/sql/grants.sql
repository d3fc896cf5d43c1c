-- Role app: the books are insert-only; of a balance it sets the limits, of an account and a transaction what may move.
GRANT SELECT ON ledger_currency TO app;
GRANT SELECT, INSERT, UPDATE (status, frozen, metadata) ON ledger_account TO app;
GRANT SELECT, INSERT, UPDATE (floor, ceiling) ON ledger_balance TO app;
GRANT SELECT, INSERT, UPDATE (status, error_code, completed_at) ON ledger_transaction TO app;
GRANT SELECT, INSERT ON ledger_transactionevent, ledger_journal, ledger_entry TO app;

GRANT SELECT ON
    ledger_currency, ledger_account, ledger_balance, ledger_transaction, ledger_transactionevent, ledger_journal,
    ledger_entry
TO readonly;
