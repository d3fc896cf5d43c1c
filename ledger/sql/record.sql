-- The record: what is booked, hashed in the order of the events that tell it, into blocks of which each names the one
-- before (ledger/services/sealing.py). A block covers the events from `first_position` to `last_position`, which is where
-- the next begins; `merkle_root` is that of the leaves of its journals (RFC 6962).
CREATE TABLE ledger_block (
    number         bigint      PRIMARY KEY,
    first_position bigint      NOT NULL,
    last_position  bigint      NOT NULL,
    journal_count  integer     NOT NULL,
    merkle_root    bytea       NOT NULL,
    previous_hash  bytea       NOT NULL,
    hash           bytea       NOT NULL,
    sealed_at      timestamptz NOT NULL
);

-- Which journal is in which block, and where: `index` counts from 0.
CREATE TABLE ledger_leaf (
    journal_id   uuid    PRIMARY KEY,
    block_number bigint  NOT NULL,
    index        integer NOT NULL,
    hash         bytea   NOT NULL,
    CONSTRAINT leaf_once UNIQUE (block_number, index)
);

-- How far the sealer has come; who seals has locked the row. What is told up to `last_position` is sealed.
CREATE TABLE ledger_sealing (
    id            smallint PRIMARY KEY CHECK (id = 1),
    last_position bigint   NOT NULL
);
INSERT INTO ledger_sealing (id, last_position) VALUES (1, 0);

CREATE TRIGGER block_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_block
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER leaf_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_leaf
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON ledger_block, ledger_leaf TO app;
GRANT SELECT, UPDATE (last_position) ON ledger_sealing TO app;
GRANT SELECT ON ledger_block, ledger_leaf, ledger_sealing TO readonly;
