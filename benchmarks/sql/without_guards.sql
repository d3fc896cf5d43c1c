-- The two guards of the books without what they check: lines are added to the balances as the guard adds them.
DROP TRIGGER journal_guard ON ledger_journal;

CREATE OR REPLACE FUNCTION ledger_entry_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    WITH delta AS (
        SELECT account_id, count(*) AS lines, max(posted_at) AS last_at,
            sum(greatest(amount_minor, 0)) AS debits, sum(greatest(-amount_minor, 0)) AS credits
        FROM new_entries
        GROUP BY account_id
    )
    UPDATE ledger_balance b
    SET posted_debits = b.posted_debits + d.debits,
        posted_credits = b.posted_credits + d.credits,
        version = b.version + d.lines,
        last_posted_at = d.last_at
    FROM delta d
    WHERE b.account_id = d.account_id;
    RETURN NULL;
END $$;
