-- Closed accounts that hold money or holds.
SELECT a.client_id, a.id AS account_id, a.path, b.posted_debits, b.posted_credits, b.pending_debits, b.pending_credits
FROM ledger_account a
JOIN ledger_balance b ON b.account_id = a.id
WHERE a.status = 'closed'
    AND (b.posted_debits <> b.posted_credits OR b.pending_debits <> 0 OR b.pending_credits <> 0)
