-- Lines on an account that is missing, of another client or of another currency, or not of their journal's time.
SELECT j.client_id, e.journal_id, e.line, e.account_id, e.currency_id AS currency, e.posted_at
FROM ledger_entry e
JOIN ledger_journal j ON j.id = e.journal_id
LEFT JOIN ledger_account a ON a.id = e.account_id
WHERE a.id IS NULL OR a.client_id <> j.client_id OR a.currency_id <> e.currency_id OR e.posted_at <> j.posted_at
