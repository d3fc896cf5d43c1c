-- Two million transactions of a year, half of them of one busy user (00000) and sixty of a quiet one, and a million
-- entries of the busy user's account, every hundredth of which took effect ten days before it was booked. A million entries
-- of another account (00001), which were all booked after the year's end, as an import does, and the first 10,000 of it of
-- a third (00002). Written past the guards: this database is for reading and thrown away.
ALTER TABLE ledger_transaction DISABLE TRIGGER USER;
ALTER TABLE ledger_journal DISABLE TRIGGER USER;
ALTER TABLE ledger_entry DISABLE TRIGGER USER;

CREATE TEMPORARY TABLE wallet AS
SELECT (row_number() OVER (ORDER BY path) - 1)::integer AS number, id, client_id, user_id
FROM ledger_account
WHERE path LIKE 'users:%';
CREATE INDEX ON wallet (number);
ANALYZE wallet;

-- The n-th moment of the year, and the UUIDv7 of a moment.
CREATE FUNCTION pg_temp.moment(n integer) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS
$$ SELECT timestamptz '2025-01-01 00:00:00+00' + n * interval '15 seconds' $$;
CREATE FUNCTION pg_temp.uuid7(n integer, family text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (
        lpad(to_hex((extract(epoch FROM pg_temp.moment(n)) * 1000)::bigint), 12, '0')
        || '7000' || '8' || family || lpad(to_hex(n), 12, '0')
    )::uuid
$$;

INSERT INTO ledger_transaction (
    id, client_id, receipt_code, type, status, amount_minor, booked_minor, currency_id, debit_account_id,
    credit_account_id, user_id, peer_user_id, metadata, effective_at, created_at, completed_at
)
SELECT
    pg_temp.uuid7(n, '000'), debit.client_id, 'RCP-20250101-' || lpad(n::text, 22, '0'), 'transfer', 'completed', 100,
    100, 'USD', debit.id, credit.id, CASE WHEN n % 33333 = 0 THEN 'quiet' ELSE debit.user_id END, credit.user_id, '{}',
    pg_temp.moment(n), pg_temp.moment(n), pg_temp.moment(n)
FROM (
    SELECT n, payer, (payer + 1 + n % 9000) % 10000 AS payee
    FROM (SELECT n, CASE WHEN n % 2 = 0 THEN 0 ELSE n * 7919::bigint % 10000 END AS payer FROM generate_series(1, 2000000) n) _
) pair
JOIN wallet debit ON debit.number = payer
JOIN wallet credit ON credit.number = payee
ORDER BY n;

INSERT INTO ledger_journal (id, client_id, transaction_id, external_ref, kind, entry_count, effective_at, posted_at)
SELECT
    pg_temp.uuid7(n, '111'), (SELECT client_id FROM wallet WHERE number = 0), pg_temp.uuid7(n, '000'),
    'RCP-20250101-' || lpad(n::text, 22, '0'), 'post', 2,
    pg_temp.moment(n) - CASE WHEN n % 100 = 0 THEN interval '10 days' ELSE interval '0 days' END, pg_temp.moment(n)
FROM generate_series(1, 1000000) n;

DELETE FROM ledger_entry WHERE account_id IN (SELECT id FROM wallet WHERE number IN (0, 1, 2));
INSERT INTO ledger_entry (
    journal_id, line, account_id, currency_id, layer, amount_minor, account_version, posted_after, pending_after,
    pending_debits_after, posted_at
)
SELECT
    pg_temp.uuid7(n, '111'), 1, (SELECT id FROM wallet WHERE number = 0), 'USD', 'posted', -100, n, n * -100, 0, 0,
    pg_temp.moment(n)
FROM generate_series(1, 1000000) n;
INSERT INTO ledger_entry (
    journal_id, line, account_id, currency_id, layer, amount_minor, account_version, posted_after, pending_after,
    pending_debits_after, posted_at
)
SELECT
    pg_temp.uuid7(n, '22' || w.number), 1, w.id, 'USD', 'posted', -100, n, n * -100, 0, 0,
    pg_temp.moment(2000000) + n * interval '1 ms'
FROM wallet w, generate_series(1, CASE w.number WHEN 1 THEN 1000000 ELSE 10000 END) n
WHERE w.number IN (1, 2);
INSERT INTO ledger_timeshift (
    account_id, begins_at, account_version, ends_at, posted_minor, pending_minor, pending_debits_minor
)
SELECT w.id, pg_temp.moment(n) - interval '10 days', n, pg_temp.moment(n), -100, 0, 0
FROM generate_series(100, 1000000, 100) n, wallet w
WHERE w.number = 0
UNION ALL
SELECT w.id, pg_temp.moment(n), n, pg_temp.moment(2000000) + n * interval '1 ms', -100, 0, 0
FROM wallet w, generate_series(1, CASE w.number WHEN 1 THEN 1000000 ELSE 10000 END) n
WHERE w.number IN (1, 2);
UPDATE ledger_balance b
SET version = e.account_version, posted_credits = -e.posted_after, posted_debits = 0, last_posted_at = e.posted_at
FROM wallet w, ledger_entry e
WHERE b.account_id = w.id
    AND e.account_id = w.id
    AND e.account_version = CASE w.number WHEN 2 THEN 10000 ELSE 1000000 END
    AND w.number IN (0, 1, 2);
