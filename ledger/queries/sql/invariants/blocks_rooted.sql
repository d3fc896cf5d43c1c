-- Blocks of which the root is not that of their leaves (RFC 6962), or which have others than those from 0 to their count,
-- and leaves of no block. Each level has a node for two of the one below; one that is left over goes up as it is.
WITH RECURSIVE node AS (
    SELECT block_number, index, hash, count(*) OVER (PARTITION BY block_number) AS width
    FROM ledger_leaf
    UNION ALL
    SELECT block_number, index / 2,
        CASE WHEN beside IS NULL THEN hash ELSE sha256('\x01'::bytea || hash || beside) END,
        (width + 1) / 2
    FROM (
        SELECT *, lead(hash) OVER (PARTITION BY block_number ORDER BY index) AS beside
        FROM node
        WHERE width > 1
    ) pair
    WHERE index & 1 = 0
)
SELECT NULL::bigint AS client_id, coalesce(b.number, l.block_number) AS block, b.journal_count, l.leaves
FROM ledger_block b
FULL JOIN (
    SELECT block_number, count(*) AS leaves, min(index) AS first_index, max(index) AS last_index
    FROM ledger_leaf
    GROUP BY block_number
) l ON l.block_number = b.number
LEFT JOIN (
    SELECT block_number, array_agg(hash) AS roots
    FROM node
    WHERE width = 1
    GROUP BY block_number
) r ON r.block_number = b.number
WHERE (b.journal_count, 0, b.journal_count - 1) IS DISTINCT FROM (l.leaves, l.first_index, l.last_index)
    OR r.roots IS DISTINCT FROM ARRAY[b.merkle_root]
