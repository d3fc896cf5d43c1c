-- Limits bind the available balance on its normal side, open holds included. They are the last word on overdrafts.
ALTER TABLE ledger_balance
    ADD CONSTRAINT balance_sign_known CHECK (sign IN (-1, 1)),
    ADD CONSTRAINT balance_sums_not_negative CHECK (
        posted_debits >= 0 AND posted_credits >= 0 AND pending_debits >= 0 AND pending_credits >= 0 AND version >= 0
    ),
    -- NaN is above every number for PostgreSQL: as a ceiling it would bound nothing.
    ADD CONSTRAINT balance_limits_are_numbers CHECK (floor <> 'NaN' AND ceiling <> 'NaN'),
    ADD CONSTRAINT balance_floor CHECK (
        floor IS NULL OR floor <= CASE sign
            WHEN -1 THEN posted_credits - posted_debits - pending_debits
            ELSE posted_debits - posted_credits - pending_credits
        END
    ),
    ADD CONSTRAINT balance_ceiling CHECK (
        ceiling IS NULL OR ceiling >= CASE sign
            WHEN -1 THEN posted_credits - posted_debits + pending_credits
            ELSE posted_debits - posted_credits + pending_debits
        END
    );

-- Narrow rows, no index but the primary key, half-empty pages: nearly every update stays on its page (HOT).
ALTER TABLE ledger_balance SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

CREATE FUNCTION ledger_balance_opens_empty() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    right_sign smallint;
BEGIN
    SELECT CASE WHEN kind IN ('asset', 'expense') THEN 1 ELSE -1 END INTO right_sign
    FROM ledger_account WHERE id = NEW.account_id;
    IF NOT FOUND OR NEW.sign <> right_sign THEN
        RAISE EXCEPTION 'balance of account %: no such account, or not its side', NEW.account_id
            USING ERRCODE = '23514', CONSTRAINT = 'balance_opens_empty';
    END IF;
    IF (NEW.posted_debits, NEW.posted_credits, NEW.pending_debits, NEW.pending_credits, NEW.version, NEW.last_posted_at)
        IS DISTINCT FROM (0::numeric, 0::numeric, 0::numeric, 0::numeric, 0::bigint, NULL::timestamptz) THEN
        RAISE EXCEPTION 'balance of account % does not open at zero', NEW.account_id
            USING ERRCODE = '23514', CONSTRAINT = 'balance_opens_empty';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER balance_opens_empty BEFORE INSERT ON ledger_balance
    FOR EACH ROW EXECUTE FUNCTION ledger_balance_opens_empty();
