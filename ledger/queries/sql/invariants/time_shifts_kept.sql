-- Entries whose times are more than ten seconds apart and that have not their one time shift, and time shifts of nothing.
SELECT a.client_id, a.id AS account_id, coalesce(m.account_version, s.account_version) AS account_version
FROM (
    SELECT e.account_id, e.account_version, least(j.effective_at, e.posted_at) AS begins_at,
        greatest(j.effective_at, e.posted_at) AS ends_at,
        shift.way * CASE WHEN e.layer = 'posted' THEN e.amount_minor ELSE 0 END AS posted_minor,
        shift.way * CASE WHEN e.layer = 'held' THEN e.amount_minor ELSE 0 END AS pending_minor,
        shift.way * CASE WHEN e.layer = 'held' AND (e.amount_minor > 0) = (j.kind = 'hold') THEN e.amount_minor ELSE 0 END
            AS pending_debits_minor
    FROM ledger_entry e
    JOIN ledger_journal j ON j.id = e.journal_id
    CROSS JOIN LATERAL (VALUES (CASE WHEN j.effective_at < e.posted_at THEN 1 ELSE -1 END)) AS shift (way)
    WHERE j.effective_at NOT BETWEEN e.posted_at - interval '10 seconds' AND e.posted_at + interval '10 seconds'
) m
FULL JOIN ledger_timeshift s ON s.account_id = m.account_id AND s.account_version = m.account_version
LEFT JOIN ledger_account a ON a.id = coalesce(m.account_id, s.account_id)
WHERE (m.begins_at, m.ends_at, m.posted_minor, m.pending_minor, m.pending_debits_minor)
    IS DISTINCT FROM (s.begins_at, s.ends_at, s.posted_minor, s.pending_minor, s.pending_debits_minor)
