-- What an account held, by its booked lines that took effect before a moment; debits are positive.
SELECT coalesce(sum(e.amount_minor), 0)
FROM ledger_entry e
JOIN ledger_journal j ON j.id = e.journal_id
WHERE e.account_id = %(account_id)s AND e.layer = 'posted' AND j.effective_at < %(until)s
