-- Spans that do not follow one another, and sums that are not what the time shifts of their spans make from one moment
-- until the next. (OFFSET keeps the look-up of those of a span a look-up, however many there are of the account.)
WITH span AS MATERIALIZED (
    SELECT account_id, number, last_version, row_number() OVER (PARTITION BY account_id ORDER BY last_version) AS place
    FROM ledger_shiftspan
),
block AS MATERIALIZED (
    SELECT last.account_id, last.place AS number, level, coalesce(before.last_version, 0) AS after, last.last_version
    FROM span last
    JOIN generate_series(0, 7) AS level ON last.place %% (1 << 4 * level) = 0
    LEFT JOIN span before ON before.account_id = last.account_id AND before.place = last.place - (1 << 4 * level)
),
wrong AS (
    SELECT account_id, number, NULL::integer AS level, NULL::timestamptz AS moment
    FROM span
    WHERE number <> place
    UNION ALL
    SELECT account_id, number, level, moment
    FROM (
        SELECT block.account_id, block.number, block.level, edge.moment,
            sum(sum(edge.way * shift.posted_minor)) OVER passed AS posted_minor,
            sum(sum(edge.way * shift.pending_minor)) OVER passed AS pending_minor,
            sum(sum(edge.way * shift.pending_debits_minor)) OVER passed AS pending_debits_minor
        FROM block
        CROSS JOIN LATERAL (
            SELECT t.*
            FROM ledger_timeshift t
            WHERE t.account_id = block.account_id
                AND t.account_version > block.after
                AND t.account_version <= block.last_version
            OFFSET 0
        ) shift
        CROSS JOIN LATERAL (VALUES (shift.begins_at, 1), (shift.ends_at, -1)) AS edge (moment, way)
        GROUP BY block.account_id, block.number, block.level, edge.moment
        WINDOW passed AS (PARTITION BY block.account_id, block.number, block.level ORDER BY edge.moment)
    ) made
    FULL JOIN ledger_shiftsum s USING (account_id, number, level, moment)
    WHERE (made.posted_minor, made.pending_minor, made.pending_debits_minor)
        IS DISTINCT FROM (s.posted_minor, s.pending_minor, s.pending_debits_minor)
)
SELECT a.client_id, w.account_id, w.number, w.level, w.moment
FROM wrong w
LEFT JOIN ledger_account a ON a.id = w.account_id
