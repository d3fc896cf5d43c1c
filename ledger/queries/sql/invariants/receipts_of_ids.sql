-- Transactions whose id is no UUIDv7, or whose receipt code is not that of their id (ledger/domain/receipts.py).
-- The code is computed here a second time. Its check, a weighted sum over GF(32), is linear in the bits of the 29
-- characters before it: each of its five bits is their parity under a mask. Materialized, lest the planner put the
-- expressions of one step into every place where the next one uses them.
WITH split AS MATERIALIZED (
    SELECT id, client_id, receipt_code, ('x' || encode(uuid_send(id), 'hex'))::bit(128) AS bits
    FROM ledger_transaction
),
packed AS MATERIALIZED (
    SELECT
        id, client_id, receipt_code, bits,
        '0123456789ABCDEFGHJKMNPQRSTVWXYZ' AS digits,
        to_char(DATE '1970-01-01' + (substring(bits FROM 1 FOR 48)::bigint / 86400000)::integer, 'YYYYMMDD') AS day,
        B'0000' || (substring(bits FROM 1 FOR 48)::bigint %% 86400000)::integer::bit(27)
            || substring(bits FROM 53 FOR 12) || substring(bits FROM 67 FOR 62) AS rest
    FROM split
),
numbered AS MATERIALIZED (
    SELECT *,
        B'000' || substr(day, 1, 1)::integer::bit(5) || substr(day, 2, 1)::integer::bit(5)
            || substr(day, 3, 1)::integer::bit(5) || substr(day, 4, 1)::integer::bit(5)
            || substr(day, 5, 1)::integer::bit(5) || substr(day, 6, 1)::integer::bit(5)
            || substr(day, 7, 1)::integer::bit(5) || substr(day, 8, 1)::integer::bit(5) || rest AS symbols
    FROM packed
),
expected AS MATERIALIZED (
    SELECT
        id, client_id, receipt_code, bits,
        concat(
            'RCP-', day, '-',
            substr(digits, substring(rest FROM 1 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 6 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 11 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 16 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 21 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 26 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 31 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 36 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 41 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 46 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 51 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 56 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 61 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 66 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 71 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 76 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 81 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 86 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 91 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 96 FOR 5)::integer + 1, 1),
            substr(digits, substring(rest FROM 101 FOR 5)::integer + 1, 1),
            substr(
                digits,
                16 * (bit_count(symbols & X'1b1f3485763e690aec7cd215d8f9a42bb1f34') & 1)::integer
                + 8 * (bit_count(symbols & X'1d8f9a42bb1f3485763e690aec7cd215d8f9a') & 1)::integer
                + 4 * (bit_count(symbols & X'0ec7cd215d8f9a42bb1f3485763e690aec7cd') & 1)::integer
                + 2 * (bit_count(symbols & X'0c7cd215d8f9a42bb1f3485763e690aec7cd2') & 1)::integer
                + (bit_count(symbols & X'163e690aec7cd215d8f9a42bb1f3485763e69') & 1)::integer
                + 1,
                1
            )
        ) AS code
    FROM numbered
)
SELECT client_id, id AS transaction_id, receipt_code, code AS expected
FROM expected
WHERE receipt_code <> code
    OR substring(bits FROM 49 FOR 4) <> B'0111'
    OR substring(bits FROM 65 FOR 2) <> B'10'
