-- The sums of an account's first `newest` entries, of those that took effect at or before a moment: posted, then held.
-- They are the sums of what was booked by then, corrected by what took effect on the other side of the moment: of the
-- entries booked within ten seconds of it each is looked at, those further away have a time shift.
WITH RECURSIVE
asked AS (
    SELECT %(account_id)s::bigint AS account_id, at, %(newest)s::bigint AS newest
    FROM unnest(ARRAY[
        %(effective_at)s::timestamptz - interval '10 seconds',
        %(effective_at)s::timestamptz,
        %(effective_at)s::timestamptz + interval '10 seconds'
    ]) AS moment (at)
),
{versions_at}
SELECT
    coalesce(sum(part.minor) FILTER (WHERE part.layer = 'posted'), 0),
    coalesce(sum(part.minor) FILTER (WHERE part.layer = 'held'), 0)
FROM (
    SELECT sums.layer, sums.minor
    FROM known k
    JOIN ledger_entry e ON e.account_id = k.account_id AND e.account_version = k.version
    CROSS JOIN LATERAL (VALUES ('posted', e.posted_after), ('held', e.pending_after)) AS sums (layer, minor)
    WHERE k.at = %(effective_at)s
    UNION ALL
    SELECT e.layer, CASE WHEN e.posted_at <= %(effective_at)s THEN -e.amount_minor ELSE e.amount_minor END
    FROM (SELECT account_id, min(version) AS low, max(version) AS high FROM known GROUP BY account_id) near
    JOIN ledger_entry e
        ON e.account_id = near.account_id AND e.account_version > near.low AND e.account_version <= near.high
    JOIN ledger_journal j ON j.id = e.journal_id
    WHERE (e.posted_at <= %(effective_at)s) <> (j.effective_at <= %(effective_at)s)
        AND j.effective_at BETWEEN e.posted_at - interval '10 seconds' AND e.posted_at + interval '10 seconds'
    UNION ALL
    SELECT layer, amount_minor
    FROM ledger_timeshift
    WHERE account_id = %(account_id)s
        AND begins_at <= %(effective_at)s AND ends_at > %(effective_at)s
        AND account_version <= %(newest)s
) part
