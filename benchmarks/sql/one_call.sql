-- A ledger whose every transfer is one call of one function: it locks two balances in order, changes them, and writes a
-- transaction, a journal and two entries. No keys, receipts, history or events; four rows where ours are six.
CREATE TABLE account (
    id      bigint PRIMARY KEY,
    balance numeric(38, 0) NOT NULL CHECK (balance >= 0),
    version bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE transfer (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    amount     numeric(38, 0) NOT NULL CHECK (amount > 0),
    debit_id   bigint NOT NULL REFERENCES account,
    credit_id  bigint NOT NULL REFERENCES account,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE journal (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transfer_id bigint NOT NULL REFERENCES transfer,
    posted_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE entry (
    journal_id    bigint NOT NULL REFERENCES journal,
    account_id    bigint NOT NULL REFERENCES account,
    amount        numeric(38, 0) NOT NULL,
    balance_after numeric(38, 0) NOT NULL,
    version       bigint NOT NULL,
    PRIMARY KEY (account_id, version)
);

CREATE FUNCTION make_transfer(debit bigint, credit bigint, amount numeric) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    new_transfer bigint;
    new_journal  bigint;
BEGIN
    PERFORM FROM account WHERE account.id IN (debit, credit) ORDER BY id FOR NO KEY UPDATE;
    INSERT INTO transfer (amount, debit_id, credit_id) VALUES (amount, debit, credit) RETURNING id INTO new_transfer;
    INSERT INTO journal (transfer_id) VALUES (new_transfer) RETURNING id INTO new_journal;
    WITH changed AS (
        UPDATE account a
        SET balance = a.balance + line.amount, version = a.version + 1
        FROM (VALUES (debit, -amount), (credit, amount)) AS line (account_id, amount)
        WHERE a.id = line.account_id
        RETURNING a.id, line.amount, a.balance, a.version
    )
    INSERT INTO entry (journal_id, account_id, amount, balance_after, version)
    SELECT new_journal, changed.id, changed.amount, changed.balance, changed.version
    FROM changed;
    RETURN new_transfer;
END $$;

INSERT INTO account (id, balance) SELECT n, 100000000 FROM generate_series(0, 9999) n;
GRANT USAGE ON SCHEMA public TO app;
GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app;
ANALYZE;
