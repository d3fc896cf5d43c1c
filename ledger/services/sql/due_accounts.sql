-- The accounts whose time shifts fill a span of this size, of those on which journals of these blocks of the record were
-- booked that have any.
SELECT shifted.account_id
FROM (
    SELECT DISTINCT e.account_id
    FROM ledger_leaf l
    JOIN ledger_journal j ON j.id = l.journal_id
    JOIN ledger_entry e ON e.journal_id = j.id
    WHERE l.block_number > %(after)s
        AND l.block_number <= %(until)s
        AND j.effective_at NOT BETWEEN j.posted_at - interval '10 seconds' AND j.posted_at + interval '10 seconds'
) shifted
CROSS JOIN LATERAL (
    SELECT coalesce(max(last_version), 0) AS last_version FROM ledger_shiftspan s WHERE s.account_id = shifted.account_id
) folded
CROSS JOIN LATERAL (
    SELECT
    FROM ledger_timeshift t
    WHERE t.account_id = shifted.account_id AND t.account_version > folded.last_version
    ORDER BY t.account_version
    OFFSET %(size)s - 1
    LIMIT 1
) filled
