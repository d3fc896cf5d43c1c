-- Entries whose times are more than ten seconds apart and that have not their one time shift, and time shifts of nothing.
SELECT a.client_id, a.id AS account_id, coalesce(m.account_version, s.account_version) AS account_version
FROM (
    SELECT e.account_id, e.account_version, least(j.effective_at, e.posted_at) AS begins_at,
        greatest(j.effective_at, e.posted_at) AS ends_at, e.layer,
        CASE WHEN j.effective_at < e.posted_at THEN e.amount_minor ELSE -e.amount_minor END AS amount_minor
    FROM ledger_entry e
    JOIN ledger_journal j ON j.id = e.journal_id
    WHERE j.effective_at NOT BETWEEN e.posted_at - interval '10 seconds' AND e.posted_at + interval '10 seconds'
) m
FULL JOIN ledger_timeshift s ON s.account_id = m.account_id AND s.account_version = m.account_version
LEFT JOIN ledger_account a ON a.id = coalesce(m.account_id, s.account_id)
WHERE (m.begins_at, m.ends_at, m.layer, m.amount_minor) IS DISTINCT FROM (s.begins_at, s.ends_at, s.layer, s.amount_minor)
