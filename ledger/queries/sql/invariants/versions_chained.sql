-- Lines that do not follow from the line before them on their account: a gap or a second of a version, sums that are
-- not the earlier sums with this line, or a time before the earlier one's.
SELECT a.client_id, e.account_id, a.path, e.account_version, e.version_before
FROM (
    SELECT
        e.account_id, e.account_version,
        coalesce(lag(account_version) OVER chain, 0) AS version_before,
        account_version = coalesce(lag(account_version) OVER chain, 0) + 1
            AND posted_after = coalesce(lag(posted_after) OVER chain, 0)
                + CASE WHEN layer = 'posted' THEN amount_minor ELSE 0 END
            AND pending_after = coalesce(lag(pending_after) OVER chain, 0)
                + CASE WHEN layer = 'held' THEN amount_minor ELSE 0 END
            AND pending_debits_after = coalesce(lag(pending_debits_after) OVER chain, 0)
                + CASE WHEN layer = 'held' AND (amount_minor > 0) = (j.kind = 'hold') THEN amount_minor ELSE 0 END
            AND e.posted_at >= coalesce(lag(e.posted_at) OVER chain, e.posted_at)
            AS follows
    FROM ledger_entry e
    LEFT JOIN ledger_journal j ON j.id = e.journal_id
    WINDOW chain AS (PARTITION BY account_id ORDER BY account_version)
) e
LEFT JOIN ledger_account a ON a.id = e.account_id
WHERE NOT e.follows
