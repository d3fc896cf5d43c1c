-- Sealed journals that are not what was sealed: a column of theirs, of their lines or of what was asked for has another
-- value, or they are gone.
SELECT k.client_id, l.journal_id, l.block_number, l.index
FROM ledger_leaf l
LEFT JOIN LATERAL (
    SELECT leaf.client_id, leaf.hash
    FROM (
{leaves}
    ) leaf
    WHERE leaf.journal_id = l.journal_id
) k ON TRUE
WHERE k.hash IS DISTINCT FROM l.hash
