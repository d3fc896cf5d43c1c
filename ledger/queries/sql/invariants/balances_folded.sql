-- Balances that are not the sums of their account's lines, and accounts without a balance. What a hold adds to a
-- pending side, its capture, void or expiry takes off the same side.
SELECT
    a.client_id, coalesce(b.account_id, e.account_id, a.id) AS account_id, a.path,
    b.posted_debits, coalesce(e.posted_debits, 0) AS folded_debits,
    b.posted_credits, coalesce(e.posted_credits, 0) AS folded_credits,
    b.pending_debits, coalesce(h.pending_debits, 0) AS folded_pending_debits,
    b.pending_credits, coalesce(h.pending_credits, 0) AS folded_pending_credits,
    b.version, coalesce(e.lines, 0) AS lines
FROM ledger_account a
FULL JOIN ledger_balance b ON b.account_id = a.id
FULL JOIN (
    SELECT
        account_id, count(*) AS lines,
        sum(CASE WHEN layer = 'posted' AND amount_minor > 0 THEN amount_minor ELSE 0 END) AS posted_debits,
        sum(CASE WHEN layer = 'posted' AND amount_minor < 0 THEN -amount_minor ELSE 0 END) AS posted_credits
    FROM ledger_entry
    GROUP BY account_id
) e ON e.account_id = a.id
LEFT JOIN (
    SELECT
        l.account_id,
        sum(CASE WHEN j.kind = 'hold' THEN greatest(l.amount_minor, 0) ELSE least(l.amount_minor, 0) END)
            AS pending_debits,
        sum(CASE WHEN j.kind = 'hold' THEN greatest(-l.amount_minor, 0) ELSE least(-l.amount_minor, 0) END)
            AS pending_credits
    FROM ledger_entry l
    JOIN ledger_journal j ON j.id = l.journal_id
    WHERE l.layer = 'held'
    GROUP BY l.account_id
) h ON h.account_id = a.id
WHERE a.id IS NULL
    OR (b.posted_debits, b.posted_credits, b.pending_debits, b.pending_credits, b.version) IS DISTINCT FROM (
        coalesce(e.posted_debits, 0), coalesce(e.posted_credits, 0),
        coalesce(h.pending_debits, 0), coalesce(h.pending_credits, 0), coalesce(e.lines, 0)
    )
