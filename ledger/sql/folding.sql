-- Time shifts summed up ahead, so that a balance by effective time need not look at each of an account's. A span is so
-- many of them, one after the other by version; spans are numbered from 1. Of each span (level 0), of each sixteen (level
-- 1), of each 256 (level 2) …, named by the last of them, it is kept what their shifts amount to from one moment until the
-- next: at a moment, that is the last row at or before it. What comes later is later spans: nothing here changes.
CREATE TABLE ledger_shiftspan (
    account_id   bigint NOT NULL,
    number       bigint NOT NULL,
    last_version bigint NOT NULL,
    PRIMARY KEY (account_id, last_version),
    CONSTRAINT span_once UNIQUE (account_id, number)
);
CREATE TABLE ledger_shiftsum (
    account_id           bigint         NOT NULL,
    number               bigint         NOT NULL,
    level                smallint       NOT NULL,
    moment               timestamptz    NOT NULL,
    posted_minor         numeric(38, 0) NOT NULL,
    pending_minor        numeric(38, 0) NOT NULL,
    pending_debits_minor numeric(38, 0) NOT NULL,
    PRIMARY KEY (account_id, number, level, moment)
);

-- How far the record has been looked through for accounts with new time shifts; who folds has locked the row.
CREATE TABLE ledger_folding (
    id         smallint PRIMARY KEY CHECK (id = 1),
    last_block bigint   NOT NULL
);
INSERT INTO ledger_folding (id, last_block) VALUES (1, 0);

-- Fold an account's time shifts into as many spans of `size` as they fill, at most `spans_max`, each with the sums that
-- it completes; how many there were. Role app runs it, and has no other way to write either table. Versions of an account
-- are committed in their order: what is seen of its shifts lacks none before the last. One folds at a time.
CREATE FUNCTION ledger_fold_time_shifts(of_account bigint, size integer, spans_max integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    span  ledger_shiftspan;
    spans integer := 0;
BEGIN
    PERFORM FROM ledger_folding FOR UPDATE;
    SELECT * INTO span FROM ledger_shiftspan WHERE account_id = of_account ORDER BY last_version DESC LIMIT 1;
    WHILE spans < spans_max LOOP
        INSERT INTO ledger_shiftspan (account_id, number, last_version)
        SELECT of_account, coalesce(span.number, 0) + 1, account_version
        FROM ledger_timeshift
        WHERE account_id = of_account AND account_version > coalesce(span.last_version, 0)
        ORDER BY account_version
        OFFSET size - 1
        LIMIT 1
        RETURNING * INTO span;
        EXIT WHEN NOT FOUND;

        INSERT INTO ledger_shiftsum (
            account_id, number, level, moment, posted_minor, pending_minor, pending_debits_minor
        )
        SELECT of_account, span.number, block.level, edge.moment,
            sum(sum(edge.way * s.posted_minor)) OVER passed,
            sum(sum(edge.way * s.pending_minor)) OVER passed,
            sum(sum(edge.way * s.pending_debits_minor)) OVER passed
        FROM (
            SELECT level, coalesce(
                (
                    SELECT before.last_version
                    FROM ledger_shiftspan before
                    WHERE before.account_id = of_account AND before.number = span.number - (1 << 4 * level)
                ),
                0
            ) AS after
            FROM generate_series(0, 7) AS level
            WHERE span.number % (1 << 4 * level) = 0
        ) block
        JOIN ledger_timeshift s
            ON s.account_id = of_account AND s.account_version > block.after AND s.account_version <= span.last_version
        CROSS JOIN LATERAL (VALUES (s.begins_at, 1), (s.ends_at, -1)) AS edge (moment, way)
        GROUP BY block.level, edge.moment
        WINDOW passed AS (PARTITION BY block.level ORDER BY edge.moment);
        spans := spans + 1;
    END LOOP;
    RETURN spans;
END $$;

CREATE TRIGGER shift_span_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_shiftspan
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER shift_sum_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_shiftsum
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT ON ledger_shiftspan, ledger_shiftsum TO app;
GRANT SELECT, UPDATE (last_block) ON ledger_folding TO app;
GRANT SELECT ON ledger_shiftspan, ledger_shiftsum, ledger_folding TO readonly;
GRANT EXECUTE ON FUNCTION ledger_fold_time_shifts(bigint, integer, integer) TO app;
