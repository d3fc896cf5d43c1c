-- The sums of an account's first `newest` entries, of those that took effect at or before a moment: posted, pending, and
-- of the pending the debits.
-- They are the sums of what was booked by then, corrected by what took effect on the other side of the moment: of the
-- entries booked within ten seconds of it each is looked at, those further away have a time shift. Time shifts of whole
-- spans are summed up (ledger/sql/folding.sql): how many spans there are, written in base 16, says how many sums of each
-- level it takes.
WITH RECURSIVE
asked AS (
    SELECT %(account_id)s::bigint AS account_id, at, %(newest)s::bigint AS newest
    FROM unnest(ARRAY[
        %(effective_at)s::timestamptz - interval '10 seconds',
        %(effective_at)s::timestamptz,
        %(effective_at)s::timestamptz + interval '10 seconds'
    ]) AS moment (at)
),
{versions_at},
folded (span_count, last_version) AS (
    SELECT number, last_version
    FROM ledger_shiftspan
    WHERE account_id = %(account_id)s AND last_version <= %(newest)s
    ORDER BY last_version DESC
    LIMIT 1
)
SELECT coalesce(sum(posted), 0), coalesce(sum(pending), 0), coalesce(sum(pending_debits), 0)
FROM (
    SELECT e.posted_after AS posted, e.pending_after AS pending, e.pending_debits_after AS pending_debits
    FROM known k
    JOIN ledger_entry e ON e.account_id = k.account_id AND e.account_version = k.version
    WHERE k.at = %(effective_at)s
    UNION ALL
    SELECT
        shift.way * CASE WHEN e.layer = 'posted' THEN e.amount_minor ELSE 0 END,
        shift.way * CASE WHEN e.layer = 'held' THEN e.amount_minor ELSE 0 END,
        shift.way * CASE WHEN e.layer = 'held' AND (e.amount_minor > 0) = (j.kind = 'hold') THEN e.amount_minor ELSE 0 END
    FROM (SELECT account_id, min(version) AS low, max(version) AS high FROM known GROUP BY account_id) near
    JOIN ledger_entry e
        ON e.account_id = near.account_id AND e.account_version > near.low AND e.account_version <= near.high
    JOIN ledger_journal j ON j.id = e.journal_id
    CROSS JOIN LATERAL (VALUES (CASE WHEN e.posted_at <= %(effective_at)s THEN -1 ELSE 1 END)) AS shift (way)
    WHERE (e.posted_at <= %(effective_at)s) <> (j.effective_at <= %(effective_at)s)
        AND j.effective_at BETWEEN e.posted_at - interval '10 seconds' AND e.posted_at + interval '10 seconds'
    UNION ALL
    SELECT block.posted_minor, block.pending_minor, block.pending_debits_minor
    FROM folded
    CROSS JOIN generate_series(0, 7) AS digit (level)
    JOIN generate_series(1, 15) AS place ON place <= (folded.span_count >> 4 * digit.level & 15)
    CROSS JOIN LATERAL (
        SELECT s.posted_minor, s.pending_minor, s.pending_debits_minor
        FROM ledger_shiftsum s
        WHERE s.account_id = %(account_id)s
            AND s.number = (folded.span_count >> 4 * digit.level + 4 << 4) + place << 4 * digit.level
            AND s.level = digit.level
            AND s.moment <= %(effective_at)s
        ORDER BY s.moment DESC
        LIMIT 1
    ) block
    UNION ALL
    SELECT posted_minor, pending_minor, pending_debits_minor
    FROM ledger_timeshift
    WHERE account_id = %(account_id)s
        AND account_version > coalesce((SELECT last_version FROM folded), 0) AND account_version <= %(newest)s
        AND begins_at <= %(effective_at)s AND ends_at > %(effective_at)s
) part
