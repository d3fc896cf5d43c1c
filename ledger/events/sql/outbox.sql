-- The outbox, partitioned by month. `data` is JSON, but parsing it into jsonb would be an eighth of a posting round.
-- `id` is drawn while the key's account is locked, so it orders the rows of a key.
CREATE SEQUENCE events_outbox_id AS bigint;

CREATE TABLE events_outboxevent (
    id          bigint      NOT NULL DEFAULT nextval('events_outbox_id'),
    event_id    uuid        NOT NULL,
    client_id   bigint      NOT NULL,
    type        varchar(48) NOT NULL,
    key         uuid        NOT NULL,
    data        text        NOT NULL,
    trace       varchar(64) NOT NULL DEFAULT '',
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (occurred_at, id)
) PARTITION BY RANGE (occurred_at);

CREATE INDEX outbox_by_id ON events_outboxevent (id);

CREATE TRIGGER outbox_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events_outboxevent
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT USAGE ON SEQUENCE events_outbox_id TO app;
GRANT SELECT, INSERT ON events_outboxevent TO app;
GRANT SELECT ON events_outboxevent TO readonly;

-- Make the partitions of this month and the `months_ahead` after it; role app runs it and has no other DDL.
CREATE FUNCTION events_ensure_partitions(months_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '1s' AS $$
DECLARE
    first  timestamptz;
    name   text;
    made   integer := 0;
BEGIN
    IF months_ahead NOT BETWEEN 0 AND 36 THEN
        RAISE EXCEPTION 'months_ahead is %, not 0 to 36', months_ahead USING ERRCODE = '22023';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('events_ensure_partitions', 0));
    FOR month IN 0..months_ahead LOOP
        first := date_trunc('month', clock_timestamp(), 'UTC') + make_interval(months => month);
        name := 'events_outboxevent_' || to_char(first AT TIME ZONE 'UTC', 'YYYYMM');
        IF to_regclass(format('public.%I', name)) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE public.%I PARTITION OF public.events_outboxevent FOR VALUES FROM (%L) TO (%L)',
                name, first, first + interval '1 month'
            );
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;

GRANT EXECUTE ON FUNCTION events_ensure_partitions(integer) TO app;

SELECT events_ensure_partitions(12);
