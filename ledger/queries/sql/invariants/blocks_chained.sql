-- Blocks whose hash is not that of what they say (ledger/domain/merkle.py), that do not follow the one before, or that the
-- sealer has not come to; and a sealer that has come further than there are positions.
SELECT NULL::bigint AS client_id, number AS block, what
FROM (
    SELECT number, 'is not what its hash says' AS what
    FROM ledger_block
    WHERE hash IS DISTINCT FROM sha256(
        '\x0201'::bytea || convert_to(
            (
                SELECT string_agg(octet_length(field) || ':' || field, '' ORDER BY place)
                FROM unnest(ARRAY[
                    number::text, first_position::text, last_position::text, journal_count::text,
                    encode(merkle_root, 'hex'), encode(previous_hash, 'hex'),
                    trim_scale(extract(epoch FROM sealed_at) * 1000000)::text
                ]) WITH ORDINALITY AS part (field, place)
            ),
            'UTF8'
        )
    )
    UNION ALL
    SELECT number, 'does not follow the one before'
    FROM (
        SELECT number, first_position, last_position, previous_hash,
            lag(number, 1, 0::bigint) OVER chain AS number_before,
            lag(last_position, 1, 0::bigint) OVER chain AS position_before,
            lag(hash, 1, decode(repeat('00', 32), 'hex')) OVER chain AS hash_before
        FROM ledger_block
        WINDOW chain AS (ORDER BY number)
    ) b
    WHERE (number, first_position, previous_hash)
            IS DISTINCT FROM (number_before + 1, position_before + 1, hash_before)
        OR last_position < first_position
    UNION ALL
    SELECT NULL, 'the sealer is not where the blocks end, or beyond all positions'
    FROM (SELECT max(last_position) AS last_position FROM ledger_block) b
    CROSS JOIN events_numbering n
    LEFT JOIN ledger_sealing s ON TRUE
    WHERE (s.last_position BETWEEN coalesce(b.last_position, 0) AND n.last_position) IS NOT TRUE
) found
