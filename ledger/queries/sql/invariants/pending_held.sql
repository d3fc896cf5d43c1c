-- Accounts whose pending sums are not what the transactions that are pending now still hold there.
SELECT
    a.client_id, b.account_id, a.path,
    b.pending_debits, coalesce(h.debits, 0) AS held_debits,
    b.pending_credits, coalesce(h.credits, 0) AS held_credits
FROM ledger_balance b
LEFT JOIN ledger_account a ON a.id = b.account_id
LEFT JOIN (
    SELECT
        e.account_id,
        sum(CASE WHEN j.kind = 'hold' THEN greatest(e.amount_minor, 0) ELSE least(e.amount_minor, 0) END) AS debits,
        sum(CASE WHEN j.kind = 'hold' THEN greatest(-e.amount_minor, 0) ELSE least(-e.amount_minor, 0) END) AS credits
    FROM ledger_entry e
    JOIN ledger_journal j ON j.id = e.journal_id
    JOIN ledger_transaction t ON t.id = j.transaction_id
    WHERE e.layer = 'held' AND t.status = 'pending'
    GROUP BY e.account_id
) h ON h.account_id = b.account_id
WHERE (b.pending_debits, b.pending_credits) IS DISTINCT FROM (coalesce(h.debits, 0), coalesce(h.credits, 0))
