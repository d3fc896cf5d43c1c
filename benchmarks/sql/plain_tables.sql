-- The tables that a posting writes, with their columns and indexes, and without CHECKs, triggers and foreign keys.
CREATE SCHEMA plain;
GRANT USAGE ON SCHEMA plain TO app;

CREATE TABLE plain.ledger_transaction (LIKE public.ledger_transaction INCLUDING ALL EXCLUDING CONSTRAINTS);
CREATE TABLE plain.ledger_transactionevent (LIKE public.ledger_transactionevent INCLUDING ALL EXCLUDING CONSTRAINTS);
CREATE TABLE plain.ledger_journal (LIKE public.ledger_journal INCLUDING ALL EXCLUDING CONSTRAINTS);
CREATE TABLE plain.ledger_entry (LIKE public.ledger_entry INCLUDING ALL EXCLUDING CONSTRAINTS);
CREATE TABLE plain.events_outboxevent (LIKE public.events_outboxevent INCLUDING ALL EXCLUDING CONSTRAINTS);
CREATE TABLE plain.ledger_balance (LIKE public.ledger_balance INCLUDING ALL EXCLUDING CONSTRAINTS)
    WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

INSERT INTO plain.ledger_transaction SELECT * FROM public.ledger_transaction;
INSERT INTO plain.ledger_transactionevent OVERRIDING SYSTEM VALUE SELECT * FROM public.ledger_transactionevent;
INSERT INTO plain.ledger_journal SELECT * FROM public.ledger_journal;
INSERT INTO plain.ledger_entry SELECT * FROM public.ledger_entry;
INSERT INTO plain.events_outboxevent SELECT * FROM public.events_outboxevent;
INSERT INTO plain.ledger_balance SELECT * FROM public.ledger_balance;
SELECT setval(pg_get_serial_sequence('plain.ledger_transactionevent', 'id'), max(id)) FROM plain.ledger_transactionevent;

GRANT ALL ON ALL TABLES IN SCHEMA plain TO app;
GRANT ALL ON ALL SEQUENCES IN SCHEMA plain TO app;
ANALYZE;
