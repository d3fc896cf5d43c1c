-- The block that was noted elsewhere, if it is not in the record any more as it was noted.
SELECT NULL::bigint AS client_id, noted.number AS block, noted.hash AS noted, encode(b.hash, 'hex') AS found
FROM (SELECT %(noted_number)s::bigint AS number, %(noted_hash)s::text AS hash) noted
LEFT JOIN ledger_block b ON b.number = noted.number
WHERE noted.number IS NOT NULL
    AND noted.hash IS DISTINCT FROM encode(b.hash, 'hex')
