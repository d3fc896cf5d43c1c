-- Balances beyond their floor or ceiling on the account's normal side, open holds included, or on the wrong side.
SELECT a.client_id, b.account_id, a.path, b.floor, b.lowest, b.highest, b.ceiling
FROM (
    SELECT
        *,
        CASE sign
            WHEN -1 THEN posted_credits - posted_debits - pending_debits
            ELSE posted_debits - posted_credits - pending_credits
        END AS lowest,
        CASE sign
            WHEN -1 THEN posted_credits - posted_debits + pending_credits
            ELSE posted_debits - posted_credits + pending_debits
        END AS highest
    FROM ledger_balance
) b
LEFT JOIN ledger_account a ON a.id = b.account_id
WHERE b.lowest < b.floor
    OR b.highest > b.ceiling
    OR b.sign <> CASE WHEN a.kind IN ('asset', 'expense') THEN 1 ELSE -1 END
