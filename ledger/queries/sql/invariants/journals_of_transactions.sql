-- Journals of a transaction that is missing or another client's, or that name another receipt.
SELECT j.client_id, j.id AS journal_id, j.transaction_id, j.external_ref, t.receipt_code
FROM ledger_journal j
LEFT JOIN ledger_transaction t ON t.id = j.transaction_id
WHERE t.id IS NULL OR t.client_id <> j.client_id OR t.receipt_code <> j.external_ref
