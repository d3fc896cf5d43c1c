-- The two guards of the books. A journal and its lines are inserted in one statement; both guards run at its end and
-- see all of it. They run as owner, because role app may not touch the sums of a balance.

-- A journal belongs to a transaction of its client, names its receipt, and has come with all of its lines.
CREATE FUNCTION ledger_journal_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    wrong uuid;
BEGIN
    SELECT j.id INTO wrong
    FROM new_journals j
    LEFT JOIN ledger_transaction t ON t.id = j.transaction_id
    WHERE t.id IS NULL OR t.client_id <> j.client_id OR t.receipt_code <> j.external_ref
        OR j.posted_at < transaction_timestamp()
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'journal % is not of its transaction or not of now', wrong
            USING ERRCODE = '23514', CONSTRAINT = 'journal_of_transaction';
    END IF;

    -- One line is enough to know of: the guard of the lines lets none stand without all the others.
    SELECT j.id INTO wrong
    FROM new_journals j
    WHERE NOT EXISTS (SELECT FROM ledger_entry e WHERE e.journal_id = j.id)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'journal % came without its lines', wrong
            USING ERRCODE = '23514', CONSTRAINT = 'journal_complete';
    END IF;
    RETURN NULL;
END $$;

-- The plans of both are made once a connection and serve rounds of 1 and of 1,000: row by row through the primary keys
-- is right for every size, a join that scans is not.

-- New lines make whole journals that sum to zero per currency and layer, on accounts of their client and currency;
-- they are added to the balances here and nowhere else, and must continue each account's chain of versions. Those that
-- take effect at another time than now are kept a second time, for balances by effective time.
CREATE FUNCTION ledger_entry_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    found  record;
    latest timestamptz;
BEGIN
    IF TG_RELID <> 'public.ledger_entry'::regclass THEN
        RAISE EXCEPTION 'the guard of ledger_entry guards nothing else' USING ERRCODE = '55000';
    END IF;

    -- The books' time does not go back when a clock does: it may stand where one of the accounts already is.
    SELECT max(posted_at) INTO latest FROM new_entries;
    IF latest > clock_timestamp() + interval '1 minute' AND latest > ALL (
        SELECT coalesce(b.last_posted_at, '-infinity')
        FROM ledger_balance b
        WHERE b.account_id IN (SELECT account_id FROM new_entries)
    ) THEN
        RAISE EXCEPTION 'a journal of % is not of now', latest USING ERRCODE = '23514', CONSTRAINT = 'journal_of_now';
    END IF;

    WITH line AS MATERIALIZED (
        SELECT n.journal_id, n.line, n.account_id, n.currency_id, n.layer, n.amount_minor, n.account_version,
            n.posted_after, n.pending_after, n.pending_debits_after, n.posted_at, j.entry_count,
            held.debit AS held_debit,
            n.posted_at = j.posted_at AND (n.layer = 'posted' OR j.kind NOT IN ('post', 'reversal')) AS fits_journal,
            a.client_id = j.client_id AND a.currency_id = n.currency_id AS fits_account,
            j.effective_at,
            lead(n.account_version) OVER chain AS next_version,
            lead(n.posted_after - CASE n.layer WHEN 'posted' THEN n.amount_minor ELSE 0 END) OVER chain AS next_posted,
            lead(n.pending_after - CASE n.layer WHEN 'held' THEN n.amount_minor ELSE 0 END) OVER chain AS next_pending,
            lead(n.pending_debits_after - held.debit) OVER chain AS next_pending_debits,
            lead(n.posted_at) OVER chain AS next_posted_at
        FROM new_entries n
        LEFT JOIN ledger_journal j ON j.id = n.journal_id
        LEFT JOIN ledger_account a ON a.id = n.account_id
        -- What a hold adds on one side, its capture, void or expiry takes off the same side.
        CROSS JOIN LATERAL (
            VALUES (CASE WHEN n.layer = 'held' AND (n.amount_minor > 0) = (j.kind = 'hold') THEN n.amount_minor ELSE 0 END)
        ) AS held (debit)
        WINDOW chain AS (PARTITION BY n.account_id ORDER BY n.account_version)
    ),
    -- The last line of an account must say what its sums are then; each other line must say what the next one begins
    -- with.
    delta AS (
        SELECT account_id, count(*) AS lines, min(posted_at) AS first_at, max(posted_at) AS last_at,
            sum(amount_minor) FILTER (WHERE layer = 'posted' AND amount_minor > 0) AS posted_debits,
            -sum(amount_minor) FILTER (WHERE layer = 'posted' AND amount_minor < 0) AS posted_credits,
            sum(held_debit) AS pending_debits,
            sum(held_debit - amount_minor) FILTER (WHERE layer = 'held') AS pending_credits,
            max(account_version) AS last_version,
            max(posted_after) FILTER (WHERE next_version IS NULL) AS posted_after,
            max(pending_after) FILTER (WHERE next_version IS NULL) AS pending_after,
            max(pending_debits_after) FILTER (WHERE next_version IS NULL) AS pending_debits_after,
            bool_and(
                next_version IS NULL
                OR next_version = account_version + 1
                    AND next_posted = posted_after
                    AND next_pending = pending_after
                    AND next_pending_debits = pending_debits_after
                    AND next_posted_at >= posted_at
            ) AS follows
        FROM line
        GROUP BY account_id
    ),
    -- (RETURNING shows the new row alone: a line from before the account's last one leaves NULL there for it to see.)
    folded AS (
        UPDATE ledger_balance b
        SET posted_debits = b.posted_debits + coalesce(d.posted_debits, 0),
            posted_credits = b.posted_credits + coalesce(d.posted_credits, 0),
            pending_debits = b.pending_debits + d.pending_debits,
            pending_credits = b.pending_credits + coalesce(d.pending_credits, 0),
            version = b.version + d.lines,
            last_posted_at = CASE WHEN b.last_posted_at > d.first_at THEN NULL ELSE d.last_at END
        FROM delta d
        WHERE b.account_id = d.account_id
        RETURNING d.follows
            AND b.last_posted_at IS NOT NULL
            AND d.last_version = b.version
            AND d.posted_after = b.posted_debits - b.posted_credits
            AND d.pending_after = b.pending_debits - b.pending_credits
            AND d.pending_debits_after = b.pending_debits
            AS continues
    ),
    shifted AS (
        INSERT INTO ledger_timeshift (
            account_id, begins_at, account_version, ends_at, posted_minor, pending_minor, pending_debits_minor
        )
        SELECT account_id, least(effective_at, posted_at), account_version, greatest(effective_at, posted_at),
            way * CASE layer WHEN 'posted' THEN amount_minor ELSE 0 END,
            way * CASE layer WHEN 'held' THEN amount_minor ELSE 0 END,
            way * held_debit
        FROM line
        CROSS JOIN LATERAL (VALUES (CASE WHEN effective_at < posted_at THEN 1 ELSE -1 END)) AS shift (way)
        WHERE effective_at NOT BETWEEN posted_at - interval '10 seconds' AND posted_at + interval '10 seconds'
    )
    SELECT
        (
            SELECT journal_id FROM line GROUP BY journal_id
            HAVING bool_and(fits_journal) IS NOT TRUE OR count(*) <> min(entry_count) OR count(*) <> max(line)
            LIMIT 1
        ) AS incomplete,
        (
            SELECT journal_id FROM line GROUP BY journal_id, currency_id, layer HAVING sum(amount_minor) <> 0 LIMIT 1
        ) AS unbalanced,
        (SELECT account_id FROM line WHERE fits_account IS NOT TRUE LIMIT 1) AS misplaced,
        (SELECT count(*) FROM delta) - (SELECT count(*) FROM folded WHERE continues) AS broken
    INTO found;

    IF found.incomplete IS NOT NULL THEN
        RAISE EXCEPTION 'journal % is missing, closed or incomplete', found.incomplete
            USING ERRCODE = '23514', CONSTRAINT = 'journal_complete';
    ELSIF found.unbalanced IS NOT NULL THEN
        RAISE EXCEPTION 'journal % does not sum to zero', found.unbalanced
            USING ERRCODE = '23514', CONSTRAINT = 'journal_balanced';
    ELSIF found.misplaced IS NOT NULL THEN
        RAISE EXCEPTION 'account % is missing, of another client or of another currency', found.misplaced
            USING ERRCODE = '23514', CONSTRAINT = 'entry_account';
    ELSIF found.broken <> 0 THEN
        RAISE EXCEPTION '% accounts are not continued by their lines', found.broken
            USING ERRCODE = '23514', CONSTRAINT = 'entry_continues';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER journal_guard AFTER INSERT ON ledger_journal
    REFERENCING NEW TABLE AS new_journals FOR EACH STATEMENT EXECUTE FUNCTION ledger_journal_guard();
CREATE TRIGGER entry_guard AFTER INSERT ON ledger_entry
    REFERENCING NEW TABLE AS new_entries FOR EACH STATEMENT EXECUTE FUNCTION ledger_entry_guard();
CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER time_shift_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_timeshift
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
