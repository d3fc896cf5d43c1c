-- Role app: the books are insert-only; of a balance it sets the limits, of an account and a transaction what may move.
GRANT SELECT ON ledger_currency, ledger_timeshift TO app;
GRANT SELECT, INSERT, UPDATE (status, frozen, metadata) ON ledger_account TO app;
GRANT SELECT, INSERT, UPDATE (floor, ceiling) ON ledger_balance TO app;
GRANT SELECT, INSERT, UPDATE (
    status, error_code, attempts, version, completed_at, booked_minor, reversed_minor
) ON ledger_transaction TO app;
GRANT SELECT, INSERT, UPDATE (next_attempt_at), DELETE ON ledger_queuedposting TO app;
GRANT SELECT, INSERT, DELETE ON ledger_openhold TO app;
GRANT SELECT, INSERT, UPDATE (status, waiting_count, completed_at, next_attempt_at) ON ledger_batch TO app;
GRANT SELECT, INSERT, UPDATE (body, attempts, transaction_id, error, replayed) ON ledger_batchitem TO app;
GRANT SELECT, INSERT ON ledger_transactionevent, ledger_journal, ledger_entry TO app;
GRANT SELECT, INSERT ON ledger_reconciliation, ledger_reconciliationbreak TO app;

GRANT SELECT ON
    ledger_currency, ledger_account, ledger_balance, ledger_transaction, ledger_transactionevent, ledger_journal,
    ledger_entry, ledger_timeshift, ledger_queuedposting, ledger_openhold, ledger_batch, ledger_batchitem,
    ledger_reconciliation, ledger_reconciliationbreak
TO readonly;
