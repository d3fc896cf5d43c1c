-- Transactions whose terms say another debit, credit, currency, amount, fee or exchange than they do themselves; whose legs
-- are too few, not of their client's accounts, on both sides of one, or do not sum to zero per currency. What is taken
-- back has the amount of the original (reversals_of_transactions).
SELECT t.client_id, t.id AS transaction_id, t.debit_account_id, t.credit_account_id, t.amount_minor, t.terms
FROM ledger_transaction t
JOIN ledger_currency c ON c.code = t.currency_id
CROSS JOIN LATERAL (
    SELECT coalesce((t.terms ->> 'by_legs')::boolean, false) AS by_legs,
        t.terms -> 'exchange' AS exchange,
        (t.terms ->> 'fee_minor')::numeric AS fee_minor,
        count(*) AS legs,
        count(a.id) AS accounts,
        array_agg(leg.account_id ORDER BY leg.place) AS account_ids,
        array_agg(leg.minor ORDER BY leg.place) AS amounts,
        array_agg(a.currency_id ORDER BY leg.place) AS currencies,
        sum(leg.minor) FILTER (WHERE leg.minor > 0 AND a.currency_id = t.currency_id) AS debits
    FROM (
        SELECT (leg ->> 0)::bigint AS account_id, (leg ->> 1)::numeric AS minor, place
        FROM jsonb_array_elements(t.terms -> 'legs') WITH ORDINALITY AS legs (leg, place)
    ) leg
    LEFT JOIN ledger_account a ON a.id = leg.account_id AND a.client_id = t.client_id
) said
LEFT JOIN ledger_currency other ON other.code = said.exchange ->> 'credit_currency'
WHERE t.terms IS NOT NULL
    AND (
        said.by_legs <> (t.debit_account_id IS NULL)
        OR said.accounts <> said.legs
        OR EXISTS (
            SELECT
            FROM unnest(said.amounts, said.currencies) AS leg (minor, currency)
            GROUP BY currency
            HAVING sum(minor) <> 0
        )
        OR EXISTS (
            SELECT
            FROM unnest(said.account_ids, said.amounts) AS leg (account_id, minor)
            GROUP BY account_id
            HAVING min(minor) <= 0 AND max(minor) >= 0
        )
        OR CASE
            WHEN said.by_legs THEN said.legs < 2 OR t.reverses_id IS NULL AND (
                (said.currencies[1], said.debits) IS DISTINCT FROM (t.currency_id, t.amount_minor)
                OR said.fee_minor IS NOT NULL
                OR said.exchange IS NOT NULL
            )
            ELSE (said.account_ids[1], said.amounts[1], said.currencies[1], said.account_ids[2])
                    IS DISTINCT FROM (t.debit_account_id, t.amount_minor, t.currency_id, t.credit_account_id)
                OR said.legs <> 2 + CASE WHEN said.exchange IS NULL THEN 0 ELSE 2 END
                    + CASE WHEN said.fee_minor IS NULL THEN 0 ELSE 2 END
                OR said.fee_minor IS NOT NULL AND (said.account_ids[said.legs - 1], said.amounts[said.legs - 1])
                    IS DISTINCT FROM (t.debit_account_id, said.fee_minor)
                OR said.exchange IS NOT NULL AND (
                    (
                        said.currencies[2],
                        -said.amounts[2],
                        (said.exchange ->> 'credit_amount')::numeric - (said.exchange ->> 'rounding')::numeric
                    ) IS DISTINCT FROM (
                        said.exchange ->> 'credit_currency',
                        (said.exchange ->> 'credit_amount')::numeric * 10::numeric ^ other.exponent,
                        t.amount_minor * (said.exchange ->> 'rate')::numeric * 0.1::numeric ^ c.exponent
                    )
                    OR abs((said.exchange ->> 'rounding')::numeric) >= 0.1::numeric ^ other.exponent
                )
        END
    )
