-- Guard triggers that are missing, disabled, or not what the migrations made them. The type is pg_trigger.tgtype:
-- 1 row, 2 before, 4 insert, 8 delete, 16 update, 32 truncate; what is `as_owner` is SECURITY DEFINER.
SELECT
    NULL::bigint AS client_id, x.on_table, x.trigger,
    CASE
        WHEN t.oid IS NULL THEN 'missing'
        WHEN t.tgenabled NOT IN ('O', 'A') THEN 'disabled'
        ELSE 'changed'
    END AS state
FROM (
    VALUES
        ('ledger_journal', 'journal_guard', 'ledger_journal_guard', 4, TRUE),
        ('ledger_journal', 'journal_append_only', 'refuse_change', 2 + 8 + 16 + 32, FALSE),
        ('ledger_entry', 'entry_guard', 'ledger_entry_guard', 4, TRUE),
        ('ledger_entry', 'entry_append_only', 'refuse_change', 2 + 8 + 16 + 32, FALSE),
        ('ledger_timeshift', 'time_shift_append_only', 'refuse_change', 2 + 8 + 16 + 32, FALSE),
        ('ledger_shiftspan', 'shift_span_append_only', 'refuse_change', 2 + 8 + 16 + 32, FALSE),
        ('ledger_shiftsum', 'shift_sum_append_only', 'refuse_change', 2 + 8 + 16 + 32, FALSE),
        ('ledger_transaction', 'transaction_moves', 'ledger_transaction_moves', 1 + 2 + 16, FALSE),
        ('ledger_transaction', 'transaction_stays', 'refuse_change', 2 + 8 + 32, FALSE),
        ('ledger_transactionevent', 'history_append_only', 'refuse_change', 2 + 8 + 16 + 32, FALSE),
        ('ledger_account', 'account_stays', 'refuse_change', 2 + 8 + 32, FALSE),
        ('ledger_balance', 'balance_opens_empty', 'ledger_balance_opens_empty', 1 + 2 + 4, TRUE),
        ('ledger_balance', 'balance_stays', 'refuse_change', 2 + 8 + 32, FALSE),
        ('events_outboxevent', 'outbox_append_only', 'refuse_change', 2 + 8 + 16 + 32, FALSE),
        ('events_position', 'position_append_only', 'refuse_change', 2 + 8 + 16 + 32, FALSE),
        ('ledger_block', 'block_append_only', 'refuse_change', 2 + 8 + 16 + 32, FALSE),
        ('ledger_leaf', 'leaf_append_only', 'refuse_change', 2 + 8 + 16 + 32, FALSE),
        ('clients_auditentry', 'audit_entry_append_only', 'refuse_change', 2 + 8 + 16 + 32, FALSE)
) AS x (on_table, trigger, function, type, as_owner)
LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass('public.' || x.on_table) AND t.tgname = x.trigger
LEFT JOIN pg_proc f ON f.oid = t.tgfoid
WHERE t.oid IS NULL
    OR t.tgenabled NOT IN ('O', 'A')
    OR t.tgtype <> x.type
    OR t.tgqual IS NOT NULL
    OR t.tgnargs <> 0
    OR f.oid <> to_regproc('public.' || x.function)
    OR f.prosecdef <> x.as_owner
