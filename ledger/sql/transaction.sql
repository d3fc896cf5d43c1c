-- What a transaction says never changes; its status moves only along the table of ledger.domain.states.MOVES.
CREATE FUNCTION ledger_transaction_moves() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF to_jsonb(OLD) - ARRAY['status', 'error_code', 'completed_at']
        IS DISTINCT FROM to_jsonb(NEW) - ARRAY['status', 'error_code', 'completed_at'] THEN
        RAISE EXCEPTION 'transaction %: only status, error_code and completed_at may change', OLD.id
            USING ERRCODE = '55000';
    END IF;
    IF OLD.status || '>' || NEW.status <> ALL (ARRAY[
        'processing>pending', 'processing>completed', 'processing>failed',
        'failed>processing',
        'pending>completed', 'pending>voided', 'pending>expired',
        'completed>reversed'
    ]) THEN
        RAISE EXCEPTION 'transaction %: % cannot become %', OLD.id, OLD.status, NEW.status USING ERRCODE = '55000';
    END IF;
    RETURN NEW;
END $$;

-- NaN is above every number for PostgreSQL: that an amount is positive does not keep it out.
ALTER TABLE ledger_transaction ADD CONSTRAINT transaction_amount_is_number CHECK (amount_minor <> 'NaN');

CREATE TRIGGER transaction_moves BEFORE UPDATE ON ledger_transaction
    FOR EACH ROW EXECUTE FUNCTION ledger_transaction_moves();
CREATE TRIGGER transaction_stays BEFORE DELETE OR TRUNCATE ON ledger_transaction
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER history_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transactionevent
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER account_stays BEFORE DELETE OR TRUNCATE ON ledger_account
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER balance_stays BEFORE DELETE OR TRUNCATE ON ledger_balance
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
