-- Journals as they stand, with their places in the record and the hashes of all leaves of their blocks, in order.
SELECT leaf.journal_id, leaf.data, leaf.asked, l.index, (
        SELECT string_agg(beside.hash, ''::bytea ORDER BY beside.index)
        FROM ledger_leaf beside
        WHERE beside.block_number = l.block_number
    ),
    b.number, b.first_position, b.last_position, b.journal_count, b.merkle_root, b.previous_hash, b.sealed_at, b.hash
FROM (
{leaves}
) leaf
LEFT JOIN ledger_leaf l ON l.journal_id = leaf.journal_id
LEFT JOIN ledger_block b ON b.number = l.block_number
WHERE leaf.journal_id = ANY (%(journal_id)s::uuid[])
ORDER BY leaf.journal_id
