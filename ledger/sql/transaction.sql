-- What a transaction says never changes; its status moves only along the table of ledger.domain.states.MOVES, its
-- version with it, and where the status stays, one more attempt has been counted.
CREATE FUNCTION ledger_transaction_moves() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF (
        OLD.id, OLD.client_id, OLD.idempotency_key, OLD.request_hash, OLD.receipt_code, OLD.type, OLD.amount_minor,
        OLD.currency_id, OLD.debit_account_id, OLD.credit_account_id, OLD.terms, OLD.user_id, OLD.peer_user_id,
        OLD.reference, OLD.description, OLD.metadata, OLD.effective_at, OLD.execute_at, OLD.expires_at,
        OLD.reverses_id, OLD.batch_id, OLD.batch_index, OLD.created_at
    ) IS DISTINCT FROM (
        NEW.id, NEW.client_id, NEW.idempotency_key, NEW.request_hash, NEW.receipt_code, NEW.type, NEW.amount_minor,
        NEW.currency_id, NEW.debit_account_id, NEW.credit_account_id, NEW.terms, NEW.user_id, NEW.peer_user_id,
        NEW.reference, NEW.description, NEW.metadata, NEW.effective_at, NEW.execute_at, NEW.expires_at,
        NEW.reverses_id, NEW.batch_id, NEW.batch_index, NEW.created_at
    ) THEN
        RAISE EXCEPTION 'transaction %: only its status, error, attempts, completion and sums may change', OLD.id
            USING ERRCODE = '55000';
    END IF;
    IF OLD.status = NEW.status AND OLD.status = 'processing' THEN
        IF NEW.attempts <> OLD.attempts + 1 OR NEW.version <> OLD.version THEN
            RAISE EXCEPTION 'transaction %: nothing has happened', OLD.id USING ERRCODE = '55000';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.status || '>' || NEW.status <> ALL (ARRAY[
        'processing>pending', 'processing>completed', 'processing>failed',
        'failed>processing',
        'pending>pending', 'pending>completed', 'pending>voided', 'pending>expired',
        'completed>completed', 'completed>reversed'
    ]) THEN
        RAISE EXCEPTION 'transaction %: % cannot become %', OLD.id, OLD.status, NEW.status USING ERRCODE = '55000';
    END IF;
    -- What processes or captures it books, and what is completed is taken back. Where the status stays, a sum moves.
    IF NEW.booked_minor < OLD.booked_minor OR NEW.reversed_minor < OLD.reversed_minor
        OR NEW.booked_minor > OLD.booked_minor AND OLD.status NOT IN ('processing', 'pending')
        OR NEW.reversed_minor > OLD.reversed_minor AND OLD.status <> 'completed'
        OR OLD.status = NEW.status
            AND (NEW.booked_minor, NEW.reversed_minor) = (OLD.booked_minor, OLD.reversed_minor)
    THEN
        RAISE EXCEPTION 'transaction %: its sums do not move so', OLD.id USING ERRCODE = '55000';
    END IF;
    IF NEW.version <> OLD.version + 1 OR NEW.attempts NOT BETWEEN OLD.attempts AND OLD.attempts + 1 THEN
        RAISE EXCEPTION 'transaction %: a move counts one version', OLD.id USING ERRCODE = '55000';
    END IF;
    RETURN NEW;
END $$;

-- NaN is above every number for PostgreSQL: that an amount is positive does not keep it out.
ALTER TABLE ledger_transaction
    ADD CONSTRAINT transaction_amount_is_number CHECK (amount_minor <> 'NaN'),
    ADD CONSTRAINT transaction_sums_are_numbers CHECK (booked_minor <> 'NaN' AND reversed_minor <> 'NaN');

-- Half-empty pages: what a transaction comes to be stays on its page (HOT), and none of its indexes is touched. On full
-- ones a move costs three times as much.
ALTER TABLE ledger_transaction SET (fillfactor = 50);

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
