-- Journals as they are sealed: their fields, those of their lines, and what was asked for, each with its length before it
-- (ledger/domain/merkle.py).
SELECT leaf.*, sha256('\x0001'::bytea || leaf.data) AS hash
FROM (
    SELECT j.id AS journal_id, j.client_id, j.transaction_id, j.external_ref,
        convert_to({journal} || lines.fields, 'UTF8') AS data,
        {asked} AS asked
    FROM ledger_journal j
    JOIN ledger_transaction t ON t.id = j.transaction_id
    CROSS JOIN LATERAL (
        SELECT string_agg({entry}, '' ORDER BY e.line) AS fields
        FROM ledger_entry e
        JOIN ledger_account a ON a.id = e.account_id
        WHERE e.journal_id = j.id
    ) lines
) leaf
