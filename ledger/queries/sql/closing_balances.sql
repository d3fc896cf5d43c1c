-- What each named account of a client held, by its booked lines that took effect before a moment of its own.
-- Accounts that are not in the books are left out; debits are positive.
SELECT asked.path, coalesce(sum(e.amount_minor) FILTER (WHERE j.effective_at < asked.until), 0)
FROM unnest(%(paths)s::text[], %(untils)s::timestamptz[]) AS asked (path, until)
JOIN ledger_account a ON a.client_id = %(client_id)s AND a.path = asked.path
LEFT JOIN ledger_entry e ON e.account_id = a.id AND e.layer = 'posted'
LEFT JOIN ledger_journal j ON j.id = e.journal_id
GROUP BY asked.path
