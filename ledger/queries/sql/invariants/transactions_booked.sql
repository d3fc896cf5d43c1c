-- Transactions whose books are not what their status says: completed ones without a hold have exactly one post, or one
-- reversal where they take another back, and its lines are their legs; failed and processing ones have no journal; all
-- others have one hold, with the same lines.
SELECT t.client_id, t.id AS transaction_id, t.status, j.journals, j.posts, j.holds, j.right_lines, j.lines, legs.count
FROM ledger_transaction t
CROSS JOIN LATERAL (SELECT coalesce(jsonb_array_length(t.terms -> 'legs'), 2)::bigint AS count) legs
LEFT JOIN (
    SELECT
        k.transaction_id,
        count(DISTINCT k.id) AS journals,
        count(DISTINCT k.id) FILTER (
            WHERE k.kind = CASE WHEN o.reverses_id IS NULL THEN 'post' ELSE 'reversal' END
        ) AS posts,
        count(DISTINCT k.id) FILTER (WHERE k.kind = 'hold') AS holds,
        count(*) FILTER (WHERE k.kind IN ('post', 'reversal', 'hold')) AS lines,
        count(*) FILTER (
            WHERE k.kind IN ('post', 'reversal', 'hold')
                AND e.layer = CASE k.kind WHEN 'hold' THEN 'held' ELSE 'posted' END
                AND CASE
                    WHEN o.terms IS NULL
                        THEN e.currency_id = o.currency_id AND (e.account_id, e.amount_minor)
                            IN ((o.debit_account_id, o.amount_minor), (o.credit_account_id, -o.amount_minor))
                    ELSE (e.account_id, e.amount_minor) = (
                        (o.terms -> 'legs' -> (e.line - 1) ->> 0)::bigint,
                        (o.terms -> 'legs' -> (e.line - 1) ->> 1)::numeric
                    )
                END
        ) AS right_lines
    FROM ledger_journal k
    JOIN ledger_transaction o ON o.id = k.transaction_id
    LEFT JOIN ledger_entry e ON e.journal_id = k.id
    GROUP BY k.transaction_id
) j ON j.transaction_id = t.id
WHERE CASE
    WHEN t.status IN ('failed', 'processing') THEN j.journals IS NOT NULL
    WHEN t.status IN ('completed', 'reversed') AND coalesce(j.holds, 0) = 0
        THEN (j.posts, j.lines, j.right_lines) IS DISTINCT FROM (1::bigint, legs.count, legs.count)
    ELSE (j.posts, j.holds, j.lines, j.right_lines) IS DISTINCT FROM (0::bigint, 1::bigint, legs.count, legs.count)
END
