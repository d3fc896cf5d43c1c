-- The booked lines of an account between two of its versions, with what is said of their transactions and the first
-- accounts on the other side: the other one of the pair, or of legs all of the same currency. What would be made into an
-- object of its own for every line only to be shown as text comes as text.
SELECT e.account_version, e.journal_id::text, e.line, e.amount_minor::text, e.posted_after::text,
    to_char(e.posted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    to_char(j.effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    j.kind, j.transaction_id::text, j.external_ref, t.type, t.reference, t.description,
    CASE
        -- One amount between two accounts: the other one needs no look at its line.
        WHEN t.terms IS NULL THEN
            ARRAY[CASE e.account_id WHEN t.debit_account_id THEN t.credit_account_id ELSE t.debit_account_id END]
        WHEN coalesce(reversed.debit_account_id, t.debit_account_id) IS NULL THEN ARRAY (
            SELECT o.account_id
            FROM ledger_entry o
            WHERE o.journal_id = e.journal_id
                AND o.layer = 'posted'
                AND o.currency_id = e.currency_id
                AND (o.amount_minor > 0) <> (e.amount_minor > 0)
            GROUP BY o.account_id
            ORDER BY min(o.line)
            LIMIT %(counterparties_max)s
        )
        -- Lines come in pairs, of which the first is odd.
        ELSE ARRAY (
            SELECT o.account_id
            FROM ledger_entry o
            WHERE o.journal_id = e.journal_id AND o.line = e.line - 1 + 2 * (e.line %% 2)
        )
    END::text
FROM ledger_entry e
JOIN ledger_journal j ON j.id = e.journal_id
JOIN ledger_transaction t ON t.id = j.transaction_id
LEFT JOIN ledger_transaction reversed ON reversed.id = t.reverses_id
WHERE e.account_id = %(account_id)s
    AND e.account_version > %(after)s
    AND e.account_version <= %(until)s
    AND e.layer = 'posted'
ORDER BY e.account_version
